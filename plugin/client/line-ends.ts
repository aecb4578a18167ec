/**
 * Turns CR and CRLF into LF, over the borders of chunks. The parser waits after a CR for a possible LF, so that an
 * event that ends with CR CR is dispatched only when more bytes come; EventSource dispatches it at once.
 */
export function lineEndNormalizer (): (text: string) => string {
  let wasCr = false
  return text => {
    if (text === '') return text
    const rest = wasCr && text.startsWith('\n') ? text.slice(1) : text
    wasCr = text.endsWith('\r')
    return rest.includes('\r') ? rest.replace(/\r\n?/g, '\n') : rest
  }
}
