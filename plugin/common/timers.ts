/** The longest delay of a Node timer in ms, about 24.8 days; a timer with a longer delay fires immediately. */
export const MAX_TIMER_MS = 2_147_483_647
