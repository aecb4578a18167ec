import type { EventId } from '../../ids/event-id.ts'
import { fingerprintOf } from '../idempotency.ts'
import type { AppendLease } from '../lease.ts'
import type { NewEvent } from '../topic-log.ts'
import { AppendGroups } from './append-groups.ts'
import type { EventArgs } from './append-groups.ts'
import type { ScriptCommands } from './scripts/redis-scripts.ts'

export interface RedisAppendsInit {
  client: Pick<ScriptCommands, 'topicAppend' | 'topicAppendOnce'>
  /** The name of one of a topic's keys. */
  keyOf: (topic: string, what: string) => string
  /** The first arguments of the script: the channel, the command that publishes, and the retention. */
  headOf: (topic: string) => ReadonlyArray<string | number>
}

/** Conditions of an append: once for this idempotency key, and only while this lease is held. */
export interface AppendTerms { key: string | undefined, lease: AppendLease | undefined }

/** The reply of `append.lua` for these events. */
export interface AppendReply { outcome: string, first: EventId, count: number }

/** The calls of `append.lua`. Appends to the same topic in one tick of the event loop share a call. */
export class RedisAppends {
  readonly #init: RedisAppendsInit
  readonly #groups = new AppendGroups(async (topic, args) => this.#call(topic, this.#argsOf(topic, args)))

  constructor (init: RedisAppendsInit) {
    this.#init = init
  }

  /** Rejects with the error of Redis or ioredis. */
  async append (topic: string, events: readonly NewEvent[], { key, lease }: AppendTerms): Promise<AppendReply> {
    const args = toArgs(events)
    if (key === undefined && lease === undefined) {
      const { reply, before } = await this.#groups.add(topic, args)
      const { outcome, first: { ms, n } } = toReply(reply)
      return { outcome, first: { ms, n: n + before }, count: events.length }
    }
    // An append with conditions of its publisher is a separate call.
    this.flush(topic)
    const all = this.#argsOf(topic, args, lease)
    if (key !== undefined) all.push(fingerprintOf(events))
    return toReply(await this.#call(topic, all, key))
  }

  /** Sends the appends that wait for this topic now, so that a command sent afterwards follows them. */
  flush (topic: string): void {
    this.#groups.flush(topic)
  }

  async #call (topic: string, args: readonly string[], key?: string): Promise<string[]> {
    const { client, keyOf } = this.#init
    const keys = [keyOf(topic, 'log'), keyOf(topic, 'meta')] as const
    return key === undefined
      ? client.topicAppend(...keys, args)
      : client.topicAppendOnce(...keys, keyOf(topic, `key:${key}`), args)
  }

  /**
   * A single argument of a command, which ioredis flattens: spread into the call, a large batch would overflow the
   * stack.
   */
  #argsOf (topic: string, events: EventArgs, lease?: AppendLease): string[] {
    const args = [...this.#init.headOf(topic), lease?.fence ?? '', lease?.accepted ?? ''].map(String)
    for (const arg of events) args.push(arg)
    return args
  }
}

/**
 * All are strings: an exception while ioredis queues a command mixes up the answers of all others that are queued with
 * it.
 */
function toArgs (events: readonly NewEvent[]): string[] {
  const args: string[] = []
  for (const { event, data, retry } of events) args.push(String(event ?? ''), String(data), String(retry ?? ''))
  return args
}

function toReply ([outcome = '', ms, n, count]: readonly string[]): AppendReply {
  return { outcome, first: { ms: Number(ms), n: Number(n) }, count: Number(count) }
}
