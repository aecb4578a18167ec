import { browser } from '../browser.ts'

/** The URL of a stream over these topics; relative to the page, in a browser. */
export function streamUrl (base: string | URL, topics: readonly string[], isEnveloped: boolean): URL {
  const url = new URL(base, browser.location?.href)
  for (const topic of topics) url.searchParams.append('topic', topic)
  if (isEnveloped) url.searchParams.set('envelope', 'true')
  return url
}
