export const VALKEY_SERVER: string
