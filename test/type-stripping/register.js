import { register } from 'node:module'

// Node 20 does not run TypeScript by itself, as later versions do. tap's own loader compiles every file again in every
// test process, which takes 2 s of CPU each. Blanking types preserves lines and columns, so coverage needs no source
// maps.
register('./hooks.js', import.meta.url)
