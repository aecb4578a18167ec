/** Keeps the event loop busy for this long. */
export function spin (ms: number): void {
  const endsAt = performance.now() + ms
  while (performance.now() < endsAt) continue
}
