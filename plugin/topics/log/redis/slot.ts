import { requirePeer } from '../../../common/peer.ts'

/** The slot of a key on a cluster, 0 to 16383: that of its hash tag, if it has one. The package has no types. */
export const slotOf = requirePeer<(key: string) => number>('cluster-key-slot', 'RedisLog')
