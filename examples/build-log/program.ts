import { setTimeout as sleep } from 'node:timers/promises'

// The output of a build, about ten lines per second.
const FILES = ['reader', 'writer', 'cursor', 'feed', 'page', 'frame', 'tail', 'topic', 'log', 'stream']

for (const step of ['compile', 'lint', 'test', 'pack']) {
  console.log(`> ${step}`)
  for (const file of FILES) {
    console.log(`  ${step} src/${file}.ts … ok`)
    await sleep(100)
  }
}
console.log('44 files, no problems')
