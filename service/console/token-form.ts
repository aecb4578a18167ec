import { byId, fieldOf, setText } from './page/dom.ts'
import type { PageToken } from './page/token.ts'

/** The form for a token. It opens automatically when the service requires credentials. */
export class TokenForm {
  readonly #details = byId('token-details', HTMLDetailsElement)
  readonly #form = byId('token', HTMLFormElement)
  readonly #message = byId('token-message')
  readonly #token: PageToken

  constructor (token: PageToken) {
    this.#token = token
    this.#form.addEventListener('submit', event => {
      event.preventDefault()
      const remember = fieldOf(this.#form, 'remember') as HTMLInputElement
      token.set(fieldOf(this.#form, 'value').value, remember.checked)
      this.#show()
    })
    byId('forget-token').addEventListener('click', () => {
      fieldOf(this.#form, 'value').value = ''
      token.set('', false)
      this.#show()
    })
    this.#show()
  }

  /** Asks for a token, with an explanation. */
  ask (text: string): void {
    setText(this.#message, text)
    this.#details.open = true
  }

  #show (): void {
    setText(byId('token-state'), this.#token.isSet ? 'set' : 'none')
    setText(this.#message, '')
    if (this.#token.isSet) this.#details.open = false
  }
}
