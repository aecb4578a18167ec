/** The longest delay of a Node timer, in ms, about 24.8 days; with a longer one it fires at once. */
export const MAX_TIMER_MS = 2_147_483_647
