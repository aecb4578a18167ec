/** What the service said against a request, in one line for people. */
export async function describeRefusal (response: Response): Promise<string> {
  const text = await response.text()
  const { code, message } = parse(text)
  return message === undefined ? `${response.status} ${response.statusText}`.trim() : `${response.status} ${code}: ${message}`
}

/** Something between may have answered in its own words. */
function parse (text: string): { code?: string, message?: string } {
  try {
    return JSON.parse(text) as { code?: string, message?: string }
  } catch {
    return {}
  }
}
