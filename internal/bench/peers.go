package main

var (
	asShipped   = system{"JetStream as shipped (not durable)", jetStream(false)}
	alwaysApart = system{"JetStream SyncAlways in its own process", jetStreamApart("always")}
	shipApart   = system{"JetStream as shipped in its own process (not durable)", jetStreamApart("shipped")}
	nsqMemory   = system{"NSQ as shipped (not durable)", nsqInMemory}
	nsqDisk     = system{"NSQ, each message synced (in flight not durable)", nsqOnDisk}
	redisAlways = system{"Redis streams, appendfsync always", redisStreams}
	rabbitmq    = system{"RabbitMQ quorum queues", rabbitMQ}
)

// peerRows are the systems that users would pick instead. Each has its broker in
// a process of its own, but for the first two, which have all in one.
func peerRows() (list []row) {
	for _, n := range []int{1, 256, 1024} {
		for _, sys := range []system{syncAlways, asShipped, alwaysApart, shipApart, nsqMemory, nsqDisk, redisAlways, rabbitmq} {
			if sys.name == syncAlways.name && n == 256 {
				continue // among the first rows
			}
			list = append(list, rowOf(sys, shape{n, size, 1}))
		}
	}
	return list
}
