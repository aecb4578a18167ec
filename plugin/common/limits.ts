/** Maximum number of topics of one stream: this many positions with 7 digits of `n` each fit into a cursor of 1 KB. */
export const MAX_STREAM_TOPICS = 44
