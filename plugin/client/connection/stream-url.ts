import { browser } from '../browser.ts'

/** The URL of a stream, in a browser relative to the page. */
function urlOf (base: string | URL): URL { return new URL(base, browser.location?.href) }

/** These topics and those in the query of the URL, sorted. Throws a TypeError for an invalid URL. */
export function allTopics (base: string | URL, topics: readonly string[] = []): readonly string[] {
  return [...new Set(urlOf(base).searchParams.getAll('topic').concat(topics))].sort()
}

/** The URL of a stream over these topics. */
export function streamUrl (base: string | URL, topics: readonly string[], isEnveloped: boolean): URL {
  const url = urlOf(base)
  url.searchParams.delete('topic')
  for (const topic of topics) url.searchParams.append('topic', topic)
  if (isEnveloped) url.searchParams.set('envelope', 'true')
  return url
}
