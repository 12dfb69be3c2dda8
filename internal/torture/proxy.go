package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// The ways in which a link fails. Those of messages are about one in four of them.
const (
	linkCut    = "cut"    // connections end, and none comes about
	linkHalf   = "half"   // they stand, and nothing comes through
	linkTo     = "to"     // the same in the direction of the node only
	linkFrom   = "from"   // and away from it
	linkReset  = "reset"  // half open, and cut in the end
	linkSlow   = "slow"   // 64 KB a second, 20 ms late
	linkFlap   = "flap"   // cut and healed several times a second
	messLost   = "lost"   // messages are lost
	messDouble = "double" // come twice
	messLate   = "late"   // come late, and in another order
)

var (
	linkModes = []string{linkCut, linkHalf, linkTo, linkFrom, linkReset, linkSlow, linkFlap}
	messModes = []string{messLost, messDouble, messLate}
)

// proxy is the link between a node and the broker.
type proxy struct {
	listener net.Listener
	broker   string // address
	copies   *copies
	toBroker bool // its broker is a receiver too
	wait     sync.WaitGroup
	ctx      context.Context //nolint:containedctx // it ends with Close
	cancel   context.CancelFunc

	mu     sync.Mutex
	mode   string // "" is the good link
	healed chan struct{}
	conns  map[net.Conn]bool
	rng    *rand.Rand
}

// listenProxy makes a link to broker, and starts it. Close ends it.
func listenProxy(ctx context.Context, broker string, seed uint64, c *copies, toBroker bool) (*proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, broker: broker, copies: c, toBroker: toBroker, conns: map[net.Conn]bool{}, rng: rand.New(rand.NewPCG(seed, 1))}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.wait.Go(p.accept)
	return p, nil
}

func (p *proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Close ends the link, and all that goes on in it.
func (p *proxy) Close() {
	p.cancel()
	_ = p.listener.Close()
	p.set("")
	p.drop()
	p.wait.Wait()
}

// set makes the link fail in the way of mode, or heals it.
func (p *proxy) set(mode string) {
	p.mu.Lock()
	if p.healed != nil {
		close(p.healed)
		p.healed = nil
	}
	if p.mode = mode; mode != "" {
		p.healed = make(chan struct{})
	}
	p.mu.Unlock()
	if mode == linkCut {
		p.drop()
	}
}

func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// now is the present mode; healed is closed at its end.
func (p *proxy) now() (mode string, healed chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.healed
}

func (p *proxy) accept() {
	for {
		node, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wait.Go(func() { p.link(node) })
	}
}

// link carries one connection until either end closes it.
func (p *proxy) link(node net.Conn) {
	defer node.Close() //nolint:errcheck // it only ends
	if mode, _ := p.now(); mode == linkCut {
		return
	}
	broker, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.broker)
	if err != nil {
		return
	}
	defer broker.Close() //nolint:errcheck // it only ends
	p.mu.Lock()
	p.conns[node], p.conns[broker] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.carry(broker, node, linkFrom) })
	both.Go(func() { p.carry(node, broker, linkTo) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, node)
	delete(p.conns, broker)
	p.mu.Unlock()
}

// carry forwards frames from src to dst.
func (p *proxy) carry(dst, src net.Conn, direction string) {
	out := &frames{w: dst}
	defer func() {
		out.end()
		_ = dst.Close()
		_ = src.Close()
	}()
	r := bufio.NewReaderSize(src, 64<<10)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		if f.message && (direction == linkTo || p.toBroker) {
			p.copies.keep(f) // it has arrived: where nobody listens, nothing does
		}
		mode, healed := p.now()
		switch mode {
		case linkHalf, linkReset, direction:
			select {
			case <-healed:
			case <-p.ctx.Done():
				return
			}
		case linkSlow:
			wait := time.NewTimer(20*time.Millisecond + time.Duration(len(f.bytes))*time.Second/(64<<10))
			select {
			case <-wait.C:
			case <-p.ctx.Done():
				wait.Stop()
				return
			}
		}
		if err := p.forward(out, f, mode, direction); err != nil {
			return
		}
	}
}

// forward sends f, or what a messy link makes of it.
func (p *proxy) forward(out *frames, f frame, mode, direction string) error {
	p.mu.Lock()
	hit, late := p.rng.IntN(4) == 0, time.Duration(p.rng.IntN(1500))*time.Millisecond
	p.mu.Unlock()
	if !f.message || !hit || mode == messDouble && direction == linkFrom { // a broker doubles what it delivers
		mode = ""
	}
	switch mode {
	case messLost:
		return nil
	case messDouble:
		return errors.Join(out.write(f.bytes), out.write(f.bytes))
	case messLate:
		out.later(p.ctx, late, f.bytes)
		return nil
	}
	return out.write(f.bytes)
}

// frames writes whole frames, also late ones, to a connection.
type frames struct {
	mu   sync.Mutex
	w    io.Writer
	wait sync.WaitGroup
}

func (o *frames) write(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.w.Write(b)
	return err
}

func (o *frames) later(ctx context.Context, d time.Duration, b []byte) {
	o.wait.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			_ = o.write(b) // a connection that is gone has lost it
		case <-ctx.Done():
		}
	})
}

// end waits for what is late still: it goes nowhere any more.
func (o *frames) end() { o.wait.Wait() }
