import { createRequire } from 'node:module'

/**
 * Loads packages that may be missing, synchronously. Bundlers do not see these packages. In a CommonJS bundle
 * `import.meta.url` is undefined, and `__filename` is that of the bundle.
 */
export const requirePackage = createRequire(typeof __filename === 'string' ? __filename : import.meta.url)
