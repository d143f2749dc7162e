// Package myelin embeds a Kafka-compatible broker in a Go program.
//
//	b, err := myelin.Open(myelin.Config{})    // in memory, on a free port of loopback
//	...
//	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
//	...
//	err = b.Close()
//
// The broker is the whole one that `myelin serve` runs: every Kafka client
// works on it, and with a directory what it acknowledged survives a power cut.
// For tests see package myelintest.
package myelin

import (
	"context"
	"fmt"
	"log/slog"
	"sort"

	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Config says what to embed. The zero value is a broker in memory on a free
// port of 127.0.0.1.
type Config struct {
	// Dir is where records are kept; it is made and formatted if it is empty.
	// "" keeps everything in memory: it is gone after Close.
	Dir string

	// Listen is the host:port that clients connect to; default 127.0.0.1:0.
	Listen string

	// Properties are Kafka broker properties, such as
	// {"num.partitions": "3"}; an unknown name is an error.
	Properties map[string]string

	// Logger hears what the broker has to tell; default none.
	Logger *slog.Logger
}

// Broker is a running broker.
type Broker struct {
	b      *broker.Broker
	cancel context.CancelFunc
	done   chan error
}

// Open starts a broker and returns when it serves clients. An error says in one
// line what is wrong and what to do: a directory in use, a port taken, an
// unknown property.
func Open(cfg Config) (*Broker, error) {
	props, err := cfg.properties()
	if err != nil {
		return nil, err
	}
	var fs vfs.FS = vfs.OS()
	if cfg.Dir == "" {
		fs = vfs.NewMem(vfs.MemConfig{})
	}
	inner, err := broker.Open(broker.Config{Properties: props, FS: fs, Logger: cfg.Logger, Format: true, Version: "embedded"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Broker{b: inner, cancel: cancel, done: make(chan error, 1)}
	go func() { b.done <- inner.Run(ctx) }()
	select { //house:select whichever happens decides, and the other can no longer
	case <-inner.Ready():
		return b, nil
	case err := <-b.done:
		cancel()
		return nil, fmt.Errorf("the broker ended while it started: %w", err)
	}
}

// Addr is the host:port that clients bootstrap from.
func (b *Broker) Addr() string { return b.b.Addr("") }

// Close drains the broker: what was asked is answered, what was written is made
// durable, and everything that Open started is gone when it returns.
func (b *Broker) Close() error {
	b.cancel()
	err := <-b.done
	b.done <- err // a second Close returns the same
	return err
}

// properties lays the caller's over those that suit a broker in a program: no
// HTTP port, no wait before a group's first rebalance.
func (cfg *Config) properties() (*config.Broker, error) {
	listen := cfg.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	dir := cfg.Dir
	if dir == "" {
		dir = "/memory"
	}
	base := config.Settings{}
	for k, v := range map[string]string{
		"node.id": "1", "process.roles": "broker,controller", "log.dirs": dir, "admin.listener": "",
		"listeners": "PLAINTEXT://" + listen, "group.initial.rebalance.delay.ms": "0",
	} {
		base[k] = config.Setting{Value: v, Origin: "myelin.Open"}
	}
	var pairs []string
	for k, v := range cfg.Properties {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	own, err := config.ParseSet(pairs)
	if err != nil {
		return nil, err
	}
	all := config.Merge(base, own)
	if _, err := config.Check(all); err != nil {
		return nil, err
	}
	return config.NewBroker(all), nil
}
