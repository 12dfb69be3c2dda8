// Package metrics counts what a node does, in Prometheus' words, and serves the
// counts and the node's health on a loopback port.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/errorkernel"
)

// Sources are asked at each scrape, from several goroutines, and must answer at
// once. A nil one is not exported.
type Sources struct {
	Waiting         func() float64 // messages in the outbox without an ack
	AwaitingResult  func() float64 // commands delivered, whose result is not back
	Cancelling      func() float64 // given up, whose receiver is asked
	Inbox           func() float64 // messages received and not ended
	Processes       func() float64 // processes that run
	BrokerConnected func() bool
	DiskFree        func() float64 // bytes free where the data folder is
	DiskReserve     func() float64 // of them, bytes that new work does not get
	DiskFull        func() bool    // new work is refused for want of room
}

// Metrics counts. No metric bears the name of a node or the id of a message, so
// their number does not grow with the fleet. All methods are safe for
// concurrent use; on a nil or zero Metrics they do nothing.
type Metrics struct {
	registry  *prometheus.Registry
	accepted  prometheus.Counter
	ended     *prometheus.CounterVec
	retries   prometheus.Counter
	batch     prometheus.Histogram
	commit    prometheus.Histogram
	commitOps prometheus.Histogram
	failures  *prometheus.CounterVec
}

// New returns Metrics of a node of that version, with a registry of their own.
func New(version string, s Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "steward_messages_accepted_total",
			Help: "Messages of this node made durable in the outbox, without results."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "steward_messages_ended_total",
			Help: "Messages of this node that got their outcome; an unknown one that is known later counts as both."}, []string{"outcome"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "steward_publish_retries_total",
			Help: "Batches sent again because no answer came."}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "steward_batch_messages",
			Help:    "Messages in one request to a receiver.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "steward_commit_seconds",
			Help:    "Time of one commit of the journal, fsync included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12)}),
		commitOps: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "steward_commit_operations",
			Help:    "Operations folded into one commit of the journal.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "steward_failures_total",
			Help: "Failures that reached the error kernel."}, []string{"class", "severity"}),
	}
	for _, o := range ack.Outcomes {
		m.ended.WithLabelValues(string(o)) // a rate needs the zero before the first
	}
	m.registry.MustRegister(m.accepted, m.ended, m.retries, m.batch, m.commit, m.commitOps, m.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.sources(version, s)
	return m
}

func (m *Metrics) sources(version string, s Sources) {
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) {
		if f != nil {
			m.registry.MustRegister(prometheus.NewGaugeFunc(
				prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f))
		}
	}
	const backlog, backlogHelp = "steward_backlog_messages", "Messages on their way, by the queue that holds them."
	gauge(backlog, backlogHelp, prometheus.Labels{"queue": "waiting"}, s.Waiting)
	gauge(backlog, backlogHelp, prometheus.Labels{"queue": "awaiting_result"}, s.AwaitingResult)
	gauge(backlog, backlogHelp, prometheus.Labels{"queue": "cancelling"}, s.Cancelling)
	gauge(backlog, backlogHelp, prometheus.Labels{"queue": "inbox"}, s.Inbox)
	gauge("steward_processes", "Processes that run.", nil, s.Processes)
	gauge("steward_disk_free_bytes", "Bytes free on the disk of the data folder.", nil, s.DiskFree)
	gauge("steward_build_info", "Always 1; the label tells the version.",
		prometheus.Labels{"version": version}, func() float64 { return 1 })
	gauge("steward_disk_reserve_bytes", "Bytes of that disk that are kept free of new work.", nil, s.DiskReserve)
	gauge("steward_disk_full", "1 while new work is refused because the disk is full, else 0.", nil, number(s.DiskFull))
	gauge("steward_broker_connected", "1 while the broker is connected, else 0.", nil, number(s.BrokerConnected))
}

// number is 1 where f says yes, else 0.
func number(f func() bool) func() float64 {
	if f == nil {
		return nil
	}
	return func() float64 {
		if f() {
			return 1
		}
		return 0
	}
}

func (m *Metrics) off() bool { return m == nil || m.registry == nil }

// Accepted counts n messages made durable in the outbox.
func (m *Metrics) Accepted(n int) {
	if !m.off() {
		m.accepted.Add(float64(n))
	}
}

// Ended counts a message that got its outcome.
func (m *Metrics) Ended(o ack.Outcome) {
	if m.off() {
		return
	}
	if !o.Valid() {
		o = "other" // it may have come over the wire: labels stay bounded
	}
	m.ended.WithLabelValues(string(o)).Inc()
}

// Retried counts a batch that is sent again.
func (m *Metrics) Retried() {
	if !m.off() {
		m.retries.Inc()
	}
}

// Sent counts a request that carried n messages.
func (m *Metrics) Sent(n int) {
	if !m.off() {
		m.batch.Observe(float64(n))
	}
}

// Committed counts a commit of the journal: how long it took, and how many
// operations it made durable.
func (m *Metrics) Committed(d time.Duration, operations int) {
	if !m.off() {
		m.commit.Observe(d.Seconds())
		m.commitOps.Observe(float64(operations))
	}
}

// Failed counts a failure.
func (m *Metrics) Failed(c errorkernel.Class, s errorkernel.Severity) {
	if !m.off() {
		m.failures.WithLabelValues(class(c), severity(s)).Inc()
	}
}

// class bounds the label: a failure may be another node's, of another version.
func class(c errorkernel.Class) string {
	switch c {
	case errorkernel.Submission, errorkernel.Storage, errorkernel.Transport, errorkernel.Process,
		errorkernel.Handler, errorkernel.Rejection, errorkernel.Expiry, errorkernel.Undelivered,
		errorkernel.Unknown, errorkernel.Identity:
		return string(c)
	}
	return "other"
}

func severity(s errorkernel.Severity) string {
	switch s {
	case errorkernel.Warning, errorkernel.Error, errorkernel.Critical:
		return string(s)
	}
	return "other"
}
