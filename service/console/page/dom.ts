/** The element with this id and of this type. Throws if the page has none. */
export function byId<Type extends Element = HTMLElement> (
  id: string, type: new () => Type = HTMLElement as never
): Type {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new TypeError(`the page has no ${type.name} #${id}`)
  return found
}

/** Creates an element with attributes and children. Strings become text nodes: nothing here parses markup. */
export function element<Name extends keyof HTMLElementTagNameMap> (
  name: Name, attributes: Readonly<Record<string, string>> = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** Sets a text only if it differs, so that a screen reader announces only changes. */
export function setText (node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement

/** The field of a form with this name. Throws if it has none. */
export function fieldOf (form: HTMLFormElement, name: string): Field {
  const field = form.elements.namedItem(name)
  const isField = [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement].some(type => field instanceof type)
  if (!isField) throw new TypeError(`the form has no field ${name}`)
  return field as Field
}

/**
 * Copies a text, and confirms it on the button for a moment. Pages that are served neither over HTTPS nor from
 * localhost have no clipboard: the text is selected instead.
 */
export async function copy (button: HTMLButtonElement, source: Element): Promise<void> {
  const label = button.textContent
  try {
    await navigator.clipboard.writeText(source.textContent)
    button.textContent = 'Copied'
  } catch {
    getSelection()?.selectAllChildren(source)
    button.textContent = 'Selected: press Ctrl+C'
  }
  setTimeout(() => { button.textContent = label }, 1_500)
}
