import { serveCalls } from '../harness/rpc.ts'
import { Group } from './group.ts'
import type { GroupInit, Received } from './group.ts'

/** The clients of every scenario: groups of bare sockets that read event streams and count events. */
const groups = new Map<string, Group>()

serveCalls({
  ready: () => true,
  /** Opens the connections of a group; resolves when each has received its first bytes. */
  connect: async (init: GroupInit) => {
    const group = new Group(init)
    groups.set(init.group, group)
    await group.connected
  },
  /** Restarts the count at zero. */
  mark: ({ group, events }: { group: string, events: number }) => of(group).mark(events),
  /** Resolves when each reading client has received as many events as `mark` specified. */
  received: async ({ group }: { group: string }): Promise<Received> => of(group).received(),
  /** This share of the clients stops reading. */
  stall: ({ group, share }: { group: string, share: number }) => of(group).stall(share),
  /** All clients read again; resolves when they have received everything, too. */
  resume: async ({ group }: { group: string }): Promise<Received> => of(group).resume(),
  close: async ({ group }: { group: string }) => {
    await of(group).close()
    groups.delete(group)
  }
})

function of (name: string): Group {
  const group = groups.get(name)
  if (group === undefined) throw new Error(`no group ${name}`)
  return group
}
