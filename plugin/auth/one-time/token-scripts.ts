import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'

/** The scripts, as commands of a connection; see the head of each `.lua` file for what it takes and gives. */
export interface TokenCommands {
  tokenIssue: (token: string, record: string, ttlMs: number, expiresAtMs: number) => Promise<number>
  tokenTake: (token: string, session: string, ...args: (string | number)[]) => Promise<FoundReply | null>
  tokenTouch: (session: string, slidingMs: number) => Promise<number>
  tokenTell: (token: string, session: string, channel: string, message: string, what: 'end' | 'keep') => Promise<number>
  tokenRevoke: (at: string, until: string, subject: string, ttlMs: number, channel: string) => Promise<number>
  tokenRevoked: (at: string, until: string, ...subject: string[]) => Promise<string[]>
}

/** What `token.lua` replies. */
export type FoundReply = [kind: 'fresh' | 'resumed' | 'repeated', record: string, endsInMs: string, turn: number]

const scripts: Record<keyof TokenCommands, { file: string, numberOfKeys: number }> = {
  tokenIssue: { file: 'issue', numberOfKeys: 1 },
  tokenTake: { file: 'token', numberOfKeys: 2 },
  tokenTouch: { file: 'touch', numberOfKeys: 1 },
  tokenTell: { file: 'tell', numberOfKeys: 2 },
  tokenRevoke: { file: 'revoke', numberOfKeys: 2 },
  tokenRevoked: { file: 'revoked', numberOfKeys: 2 }
}

/** Gives a connection the scripts as commands. */
export function defineTokenScripts<C extends Redis | Cluster> (client: C): C & TokenCommands {
  for (const [name, { file, numberOfKeys }] of Object.entries(scripts)) {
    client.defineCommand(name, { numberOfKeys, lua: readFileSync(new URL(`./${file}.lua`, import.meta.url), 'utf8') })
  }
  return client as C & TokenCommands
}
