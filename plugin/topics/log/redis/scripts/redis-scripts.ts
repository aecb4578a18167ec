import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import type { LeaseOutcome } from '../../lease.ts'

/**
 * The scripts, as commands of a connection. Keys come first, so that a cluster finds the slot; see the head of each
 * `.lua` file for its arguments and its reply.
 */
export interface ScriptCommands {
  topicAppend: (stream: string, meta: string, args: readonly string[]) => Promise<string[]>
  topicAppendOnce: (stream: string, meta: string, key: string, args: readonly string[]) => Promise<string[]>
  topicPage: (stream: string, after: string, count: number, bytes: number) => Promise<PageReply>
  topicFirst: (stream: string, from: string) => Promise<string | null>
  topicLocate: (
    stream: string,
    meta: string,
    id: string,
    maxAgeMs: number,
    expireAfterMs: number
  ) => Promise<LocateReply>
  topicClose: (stream: string, meta: string, channel: string, publish: string, expireAfterMs: number) => Promise<number>
  topicLease: (stream: string, meta: string, args: readonly string[]) => Promise<LeaseScriptReply>
  topicDelete: (
    stream: string,
    meta: string,
    channel: string,
    publish: string,
    ifClosed: number
  ) => Promise<number>
  topicCheck: (key: string, channel: string, publish: string) => Promise<number>
}

/** The reply of `page.lua`: where to continue if the page is empty, and the entries. */
export type PageReply = [next: string, ...entries: [id: string, fields: string[]][]]

/** The reply of `locate.lua`. */
export type LocateReply = [
  ms: string,
  n: string,
  born: string,
  closed: number,
  skips: string,
  count: number,
  first: string,
  found: number,
  past: string,
  now: string,
  reason: string,
  message: string,
  until: string,
  expire: string
]

/** The reply of `lease.lua`. */
export type LeaseScriptReply = [
  outcome: LeaseOutcome,
  fence: string,
  holder: string,
  remaining: string,
  accepted: string,
  mustStop: number,
  closed: number,
  reason: string,
  message: string,
  leaseMs: string
]

const state = load('state')
const entry = load('entry')
const append = state + load('append')
/** The scripts by command. */
export const scripts: Record<keyof ScriptCommands, { lua: string, numberOfKeys: number }> = {
  topicAppend: { lua: append, numberOfKeys: 2 },
  topicAppendOnce: { lua: append, numberOfKeys: 3 },
  topicPage: { lua: entry + load('page'), numberOfKeys: 1 },
  topicFirst: { lua: entry + load('first'), numberOfKeys: 1 },
  topicLocate: { lua: state + entry + load('locate'), numberOfKeys: 2 },
  topicClose: { lua: state + load('close'), numberOfKeys: 2 },
  topicLease: { lua: state + load('lease'), numberOfKeys: 2 },
  topicDelete: { lua: state + load('delete'), numberOfKeys: 2 },
  topicCheck: { lua: state + load('check'), numberOfKeys: 1 }
}

/** Adds the scripts to a connection, as commands. */
export function defineScripts<C extends Redis | Cluster> (client: C): C & ScriptCommands {
  for (const [name, script] of Object.entries(scripts)) client.defineCommand(name, script)
  return client as C & ScriptCommands
}

function load (name: string): string {
  return readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8')
}
