import { register } from 'node:module'

// Node 20 runs no TypeScript by itself, as later versions do. What tap brings for that compiles every file anew in every
// test's process: 2 s of a core each. Blanked types leave lines and columns where they are, so coverage needs no source maps.
register('./hooks.js', import.meta.url)
