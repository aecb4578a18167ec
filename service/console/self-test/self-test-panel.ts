import { byId, element, fieldOf, setText } from '../page/dom.ts'
import type { Api } from '../page/api.ts'
import { countOf } from '../page/format.ts'
import { runSelfTest } from './self-test.ts'
import type { Finding } from './self-test.ts'

const WORDS: Readonly<Record<Finding['level'], string>> = { good: 'OK', bad: 'Problem', note: 'Note' }

/** The form that starts the test, and its results. */
export class SelfTestPanel {
  readonly #form = byId('self-test', HTMLFormElement)
  readonly #findings = byId('findings')
  readonly #status = byId('self-test-status')
  readonly #button = byId('start-test', HTMLButtonElement)
  readonly #api: Api

  constructor (api: Api) {
    this.#api = api
  }

  start (): void {
    this.#form.addEventListener('submit', event => {
      event.preventDefault()
      if (!this.#button.disabled) void this.#run()
    })
  }

  async #run (): Promise<void> {
    this.#button.disabled = true
    this.#findings.replaceChildren()
    const found: Finding[] = []
    const onFinding = (finding: Finding): void => {
      found.push(finding)
      const { level, text } = finding
      this.#findings.append(element('li', { class: level }, element('b', {}, WORDS[level]), ' ', text))
    }
    const holdMs = Number(fieldOf(this.#form, 'hold').value) * 1_000
    const topic = fieldOf(this.#form, 'topic').value.trim()
    try {
      await runSelfTest({ api: this.#api, topic, holdMs, onFinding, onStep: text => setText(this.#status, text) })
    } finally {
      const problems = found.filter(({ level }) => level === 'bad').length
      setText(this.#status, `Finished: ${problems === 0 ? 'no problem' : countOf(problems, 'problem')} found.`)
      this.#button.disabled = false
    }
  }
}
