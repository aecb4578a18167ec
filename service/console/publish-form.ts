import { byId, fieldOf, setText } from './page/dom.ts'
import { explain } from './page/api.ts'
import type { Api, CallError } from './page/api.ts'

/** Publishes one event. Ctrl+Enter or Cmd+Enter in any field does the same as the button. */
export class PublishForm {
  readonly #form = byId('publish', HTMLFormElement)
  readonly #result = byId('published')
  readonly #api: Api

  constructor (api: Api) {
    this.#api = api
    this.#form.addEventListener('submit', event => {
      event.preventDefault()
      void this.#publish()
    })
    this.#form.addEventListener('keydown', event => {
      if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
      event.preventDefault()
      this.#form.requestSubmit()
    })
  }

  /** Suggests a topic for the next event, unless the user has typed one. */
  suggest (topic: string): void {
    const field = fieldOf(this.#form, 'topic')
    if (field.value === '') field.value = topic
  }

  async #publish (): Promise<void> {
    const [topic, name, data] = ['topic', 'event', 'data'].map(field => fieldOf(this.#form, field).value)
    const isJson = fieldOf(this.#form, 'as').value === 'json'
    if (isJson && !isJsonText(data!)) return this.#say('The data is not valid JSON. Nothing was published.', true)
    try {
      const id = await this.#api.publish(topic!.trim(), isJson ? data! : JSON.stringify(data), name)
      this.#say(`Published as ${id}.`, false)
    } catch (error) {
      this.#say(`Not published. ${explain(error as CallError, this.#api.token.isSet)}`, true)
    }
  }

  #say (text: string, isError: boolean): void {
    setText(this.#result, text)
    this.#result.classList.toggle('error', isError)
  }
}

function isJsonText (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
