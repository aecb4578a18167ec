/**
 * Converts CR and CRLF to LF, across chunk boundaries. After a CR the parser waits for a possible LF, so that it
 * dispatches an event that ends with CR CR only when more bytes arrive; EventSource dispatches it immediately.
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
