import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'
import { show } from '../../common/show.ts'

/**
 * What a browser reports about the page behind a request. A page of another site may make the browser send our cookies
 * with any request, and EventSource sends no preflight: the request arrives whatever CORS says about the response.
 */
export class SiteCheck {
  readonly #origins: ReadonlySet<string>
  readonly #hosts: ReadonlySet<string> | undefined

  constructor ({ origins = [], hosts }: { origins?: readonly string[], hosts?: readonly string[] }) {
    this.#origins = new Set(origins.map(origin => new URL(origin).origin))
    this.#hosts = hosts && new Set(hosts.map(host => host.toLowerCase()))
  }

  /**
   * Throws 421 `FST_SSE_BAD_HOST` if hosts are configured and this is not one of them. With DNS rebinding, a name that
   * resolves to our address makes its pages the same origin as ours.
   */
  checkHost ({ raw: { headers } }: FastifyRequest): void {
    if (this.#hosts === undefined) return
    // Every browser sends one; HTTP/1.0 does not require it.
    const given = headers.host ?? headers[':authority']
    if (given === undefined) return
    const host = String(given).toLowerCase()
    if (this.#hosts.has(host) || this.#hosts.has(host.replace(/:\d+$/, ''))) return
    throw new errors.FST_SSE_BAD_HOST(
      show(host),
      'use a name this server is known by, or add it to the hosts that are allowed'
    )
  }

  /** For credentials that browsers send automatically, and for one-time tokens. Throws 403 `FST_SSE_BAD_ORIGIN`. */
  checkPage (request: FastifyRequest): void {
    if (isPrefetch(request.headers['sec-purpose'])) {
      throw new errors.FST_SSE_BAD_ORIGIN('credentials are not for a prefetch: open the stream from a script')
    }
    if (!this.#isTrusted(request)) {
      throw new errors.FST_SSE_BAD_ORIGIN(
        `${pageOf(request)} may not use the credentials of this server: ` +
          'add that origin to those that are allowed if it should'
      )
    }
  }

  /**
   * For requests without credentials. A page of any site can make a browser send them, and plain text needs no
   * preflight: the request takes effect, although the page cannot read the response. Throws 403 `FST_SSE_BAD_ORIGIN`
   * unless the method is safe.
   */
  checkChange (request: FastifyRequest): void {
    if (SAFE_METHODS.has(request.method) || this.#isTrusted(request)) return
    throw new errors.FST_SSE_BAD_ORIGIN(
      `${pageOf(request)} may not change anything here: add that origin to those that are allowed if it should`
    )
  }

  /**
   * For a one-time token in the URL: only requests of scripts may spend it, not links, images or frames. Throws 403
   * `FST_SSE_BAD_ORIGIN`.
   */
  checkScript (request: FastifyRequest): void {
    const dest = request.headers['sec-fetch-dest']
    if (dest !== undefined && dest !== 'empty') {
      throw new errors.FST_SSE_BAD_ORIGIN(
        'a one-time token is for EventSource and fetch: open the stream from a script'
      )
    }
    this.checkPage(request)
  }

  /**
   * True for our own pages, for those of configured origins, and for requests without a page: browsers set these
   * headers automatically.
   */
  #isTrusted (request: FastifyRequest): boolean {
    const { origin, 'sec-fetch-site': site } = request.headers
    if (origin !== undefined && this.#origins.has(origin)) return true
    if (origin !== undefined && !isOwn(origin, request)) return false
    return site === undefined || site === 'same-origin' || site === 'none'
  }
}

/** RFC 9110, 9.2.1. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

const pageOf = ({ headers: { origin } }: FastifyRequest): string =>
  origin === undefined ? 'pages of another origin' : `pages of ${show(origin)}`

const isPrefetch = (purpose: string | string[] | undefined): boolean =>
  purpose !== undefined && /^prefetch\b/i.test(String(purpose))

/**
 * True for the origin of our own pages. Behind a proxy that terminates TLS only the host can be compared; if this
 * server terminates TLS, the scheme can be compared, too.
 */
function isOwn (origin: string, { host, protocol }: FastifyRequest): boolean {
  if (!URL.canParse(origin)) return false
  const page = new URL(origin)
  if (protocol === 'https' && page.protocol !== 'https:') return false
  const own = `${page.protocol}//${host}`
  return URL.canParse(own) && new URL(own).host === page.host
}
