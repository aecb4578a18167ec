import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import type { StoredToken } from '../token-store.ts'

/** The scripts, as commands of a connection; see the head of each `.lua` file for its arguments and its reply. */
export interface TokenCommands {
  tokenIssue: (token: string, record: string, ttlMs: number, expiresAtMs: number) => Promise<number>
  tokenTake: (token: string, session: string, ...args: (string | number)[]) => Promise<FoundReply | null>
  tokenTouch: (session: string, slidingMs: number) => Promise<number>
  tokenTell: (token: string, session: string, channel: string, message: string, what: 'end' | 'keep') => Promise<number>
  tokenRelease: (session: string, turn: number) => Promise<number>
  tokenRevoke: (
    at: string,
    until: string,
    forgotten: string,
    subject: string,
    ttlMs: number,
    channel: string,
    maxForgotten: number
  ) => Promise<number>
  tokenRevoked: (
    at: string,
    until: string,
    forgotten: string,
    what: 'one' | 'page',
    subjectOrSince: string | number,
    skipped: number,
    size: number
  ) => Promise<RevokedReply>
}

/** The reply of `token.lua`. */
export type FoundReply = [kind: StoredToken['kind'], record: string, endsInMs: string, turn: number, openTurn: number]

/** The reply of `revoked.lua`. */
export type RevokedReply = [forgottenMs: string, nextMs: string, skip: number, ...subjectsAndTimes: string[]]

const scripts: Record<keyof TokenCommands, { file: string, numberOfKeys: number }> = {
  tokenIssue: { file: 'issue', numberOfKeys: 1 },
  tokenTake: { file: 'token', numberOfKeys: 2 },
  tokenTouch: { file: 'touch', numberOfKeys: 1 },
  tokenTell: { file: 'tell', numberOfKeys: 2 },
  tokenRelease: { file: 'release', numberOfKeys: 1 },
  tokenRevoke: { file: 'revoke', numberOfKeys: 3 },
  tokenRevoked: { file: 'revoked', numberOfKeys: 3 }
}

/** Adds the scripts to a connection, as commands. */
export function defineTokenScripts<C extends Redis | Cluster> (client: C): C & TokenCommands {
  for (const [name, { file, numberOfKeys }] of Object.entries(scripts)) {
    client.defineCommand(name, { numberOfKeys, lua: readFileSync(new URL(`./${file}.lua`, import.meta.url), 'utf8') })
  }
  return client as C & TokenCommands
}
