declare module 'cluster-key-slot' {
  /** The slot of a key, 0 to 16383: that of its hash tag, if it has one. */
  export default function calculateSlot (key: string): number
}
