import { browser } from '../browser.ts'

/** These topics and those in the query of the URL, sorted. */
export function allTopics (base: string | URL, topics: readonly string[] = []): readonly string[] {
  const [, query] = `${base}`.split('?')
  return [...new Set(new URLSearchParams(query).getAll('topic').concat(topics))].sort()
}

/** The URL of a stream over these topics; relative to the page, in a browser. */
export function streamUrl (base: string | URL, topics: readonly string[], isEnveloped: boolean): URL {
  const url = new URL(base, browser.location?.href)
  url.searchParams.delete('topic')
  for (const topic of topics) url.searchParams.append('topic', topic)
  if (isEnveloped) url.searchParams.set('envelope', 'true')
  return url
}
