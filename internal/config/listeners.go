package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Listener is one entry of listeners or advertised.listeners.
type Listener struct {
	Name       string // upper case, unique
	Host       string // "" is every address; without brackets around IPv6
	Port       int    // 0 lets the kernel choose
	Protocol   string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	Controller bool   // serves the quorum, not clients
}

// Address is host:port as package net takes it.
func (l Listener) Address() string {
	if strings.Contains(l.Host, ":") {
		return "[" + l.Host + "]:" + strconv.Itoa(l.Port)
	}
	return l.Host + ":" + strconv.Itoa(l.Port)
}

// Loopback says whether only this machine reaches the address.
func (l Listener) Loopback() bool {
	if l.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(l.Host)
	return err == nil && ip.IsLoopback()
}

// Listeners parses listeners.
func (b *Broker) Listeners() ([]Listener, error) {
	all, err := b.endpoints("listeners", b.List("listeners"))
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("listeners is empty: want NAME://host:port")
	}
	if err != nil {
		return nil, err
	}
	for i, l := range all {
		for _, o := range all[:i] {
			if l.Port != 0 && l.Port == o.Port && (l.Host == o.Host || l.Host == "" || o.Host == "") {
				return nil, fmt.Errorf("listeners: %s and %s have the same port %d; each listener must have a different port", o.Name, l.Name, l.Port)
			}
		}
	}
	return all, nil
}

// ForListener is the value of a property that a listener may have for itself
// (listener.name.<listener>.<property>), else the broker's.
func (b *Broker) ForListener(listener, name string) Value {
	if v, ok := prefixed(b, name, listenerPrefix(listener)+name); ok {
		return v
	}
	v, _ := b.Value(name)
	return v
}

// AdvertisedAuto says that the address told to a client depends on where the
// client is (advertised.listeners=auto); only dev mode may say so.
func (b *Broker) AdvertisedAuto() bool { return b.String("advertised.listeners") == "auto" }

// Advertised parses advertised.listeners; where it is not set, or auto, these are the
// client listeners. A host may be empty, or every address (0.0.0.0), only in
// listeners: then the caller puts the machine's name.
func (b *Broker) Advertised() ([]Listener, error) {
	if !b.IsSet("advertised.listeners") || b.AdvertisedAuto() {
		all, err := b.Listeners()
		return slices.DeleteFunc(all, func(l Listener) bool { return l.Controller }), err
	}
	all, err := b.endpoints("advertised.listeners", b.List("advertised.listeners"))
	if err != nil {
		return nil, err
	}
	open, err := b.Listeners()
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if ip, err := netip.ParseAddr(l.Host); err == nil && ip.IsUnspecified() {
			return nil, fmt.Errorf("advertised.listeners cannot use the nonroutable meta-address %s: use a routable IP address", l.Host)
		}
		if !slices.ContainsFunc(open, func(o Listener) bool { return o.Name == l.Name }) {
			return nil, fmt.Errorf("advertised.listeners names %s, but listeners has %s", l.Name, listenerNames(open))
		}
	}
	return all, nil
}

func (b *Broker) endpoints(property string, list []string) ([]Listener, error) {
	protocols, err := b.protocols()
	if err != nil {
		return nil, err
	}
	var all []Listener
	for _, text := range list {
		name, rest, ok := strings.Cut(text, "://")
		colon := strings.LastIndexByte(rest, ':')
		if !ok || colon < 0 || name == "" {
			return nil, fmt.Errorf("%s: unable to parse %s to a broker endpoint: want NAME://host:port", property, text)
		}
		l := Listener{Name: strings.ToUpper(name), Host: strings.Trim(rest[:colon], "[]")}
		if l.Port, err = strconv.Atoi(rest[colon+1:]); err != nil || l.Port < 0 || l.Port > 65535 {
			return nil, fmt.Errorf("%s: %s has no port between 0 and 65535", property, text)
		}
		if l.Protocol, ok = protocols[l.Name]; !ok {
			return nil, fmt.Errorf("%s: no security protocol defined for listener %s: add %s:PLAINTEXT to listener.security.protocol.map", property, l.Name, l.Name)
		}
		if slices.ContainsFunc(all, func(o Listener) bool { return o.Name == l.Name }) {
			return nil, fmt.Errorf("%s: each listener must have a different name: %s", property, l.Name)
		}
		l.Controller = slices.ContainsFunc(b.List("controller.listener.names"), func(n string) bool { return strings.EqualFold(n, l.Name) })
		all = append(all, l)
	}
	return all, nil
}

// protocols parses listener.security.protocol.map. Controller listeners that it does
// not name are PLAINTEXT as long as the map is the default, as in Kafka.
func (b *Broker) protocols() (map[string]string, error) {
	m := map[string]string{}
	for pair := range strings.SplitSeq(b.String("listener.security.protocol.map"), ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, protocol, ok := strings.Cut(pair, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol) {
			return nil, fmt.Errorf("listener.security.protocol.map: %s: want NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", pair)
		}
		m[name] = protocol
	}
	if !b.IsSet("listener.security.protocol.map") {
		for _, name := range b.List("controller.listener.names") {
			if name = strings.ToUpper(name); m[name] == "" {
				m[name] = "PLAINTEXT"
			}
		}
	}
	return m, nil
}
