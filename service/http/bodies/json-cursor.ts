const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const SPACE = 0x20
const BYTE_ORDER_MARK = 0xfeff

/** Start, end and nesting depth of a value in a text; the depth is 0 for a value that is neither object nor array. */
export interface Span { from: number, to: number, depth: number }

/**
 * Walks over JSON to find where values start and end. The text must be valid according to `JSON.parse`: nothing is
 * checked here. One pass, without recursion.
 *
 * Not `jsonc-parser`, whose scanner takes two to five times as long and leaves the traversal to its user; not
 * `lossless-json`, which keeps numbers but not the order of keys, and takes three to ten times as long.
 */
export class JsonCursor {
  readonly #text: string
  #at: number

  constructor (text: string) {
    this.#text = text
    this.#at = text.charCodeAt(0) === BYTE_ORDER_MARK ? 1 : 0
  }

  /**
   * Calls back before each element of the array that comes next, or once if it is not an array. The callback must move
   * past the value.
   */
  forEachValue (visit: () => void): void {
    if (this.#next() !== OPEN_BRACKET) return visit()
    this.#at++
    while (this.#next() !== CLOSE_BRACKET) {
      visit()
      this.#skipComma()
    }
  }

  /**
   * Moves past an object and returns the span of the value of this key, the last one if it is repeated; undefined if it
   * is missing.
   */
  valueOf (key: string): Span | undefined {
    if (this.#next() !== OPEN_BRACE) {
      this.#skipValue()
      return undefined
    }
    let found: Span | undefined
    this.#at++
    while (this.#next() !== CLOSE_BRACE) {
      const { from, to } = this.#skipValue()
      this.#next()
      this.#at++ // the colon
      const value = this.#skipValue()
      if (JSON.parse(this.#text.slice(from, to)) === key) found = value
      this.#skipComma()
    }
    this.#at++
    return found
  }

  /** The next character that is not white space, without moving past it. */
  #next (): number {
    while (this.#text.charCodeAt(this.#at) <= SPACE) this.#at++
    return this.#text.charCodeAt(this.#at)
  }

  #skipComma (): void {
    if (this.#next() === COMMA) this.#at++
  }

  #skipValue (): Span {
    const first = this.#next()
    const from = this.#at
    let depth = 0
    if (first === QUOTE) this.#skipString()
    else if (isOpening(first)) depth = this.#skipNested()
    else this.#skipWord()
    return { from, to: this.#at, depth }
  }

  /** A quote ends a string unless it is preceded by an odd number of backslashes. */
  #skipString (): void {
    let end = this.#at
    let escapes: number
    do {
      end = this.#text.indexOf('"', end + 1)
      escapes = 0
      while (this.#text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++
    } while (escapes % 2 === 1)
    this.#at = end + 1
  }

  /** A number, `true`, `false` or `null`. */
  #skipWord (): void {
    for (
      let character = this.#text.charCodeAt(this.#at);
      character > SPACE && character !== COMMA && !isClosing(character);
    ) {
      character = this.#text.charCodeAt(++this.#at)
    }
  }

  /** An object or an array. Returns its nesting depth. */
  #skipNested (): number {
    let depth = 0
    let deepest = 0
    do {
      const character = this.#text.charCodeAt(this.#at)
      if (character === QUOTE) {
        this.#skipString()
        continue
      }
      if (isOpening(character)) deepest = Math.max(deepest, ++depth)
      else if (isClosing(character)) depth--
      this.#at++
    } while (depth > 0)
    return deepest
  }
}

function isOpening (character: number): boolean {
  return character === OPEN_BRACE || character === OPEN_BRACKET
}

function isClosing (character: number): boolean {
  return character === CLOSE_BRACE || character === CLOSE_BRACKET
}
