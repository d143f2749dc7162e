package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/listen"
)

// sockets are the bound listeners of a node, the controller's among them, and
// what is registered of them.
type sockets struct {
	all       []listen.Listener
	first     string // the first that clients use
	endpoints []cluster.Endpoint
	admin     net.Listener // nil: no HTTP
}

// bind opens every listener. On an error none stays open.
func bind(cfg *Config) (*sockets, error) {
	all, err := cfg.Properties.Listeners()
	if err != nil {
		return nil, err
	}
	advertised, err := cfg.Properties.Advertised()
	if err != nil {
		return nil, err
	}
	s := &sockets{}
	inter := interBroker(cfg.Properties, all)
	for _, l := range all {
		if l.Protocol != "PLAINTEXT" && l.Protocol != "SASL_PLAINTEXT" {
			s.close()
			return nil, fmt.Errorf("listener %s wants %s, which is not served yet: use PLAINTEXT or SASL_PLAINTEXT", l.Name, l.Protocol)
		}
		ln, err := cfg.Listen("tcp", l.Address())
		if err != nil {
			s.close()
			return nil, explainListen("listener "+l.Name, l.Address(), err)
		}
		if s.first == "" && !l.Controller {
			s.first = l.Name
		}
		s.all = append(s.all, listen.Listener{Name: l.Name, Net: ln, Authenticate: l.SASL(),
			Internal: l.Controller || l.Name == inter})
		s.endpoints = append(s.endpoints, told(l, ln.Addr(), advertised))
	}
	if addr := cfg.Properties.String("admin.listener"); addr != "" {
		if s.admin, err = cfg.Listen("tcp", addr); err != nil {
			s.close()
			return nil, explainListen("admin.listener", addr, err)
		}
	}
	return s, nil
}

// interBroker is the name of the listener by which other nodes come; it is the one
// that metadata finds among the endpoints of a node.
func interBroker(props *config.Broker, all []config.Listener) string {
	if name := props.String("inter.broker.listener.name"); name != "" {
		return strings.ToUpper(name)
	}
	first := ""
	for _, l := range all {
		if l.Controller {
			continue
		}
		if !l.SASL() {
			return l.Name
		}
		if first == "" {
			first = l.Name
		}
	}
	return first
}

// saslPlaintext is the number of SASL_PLAINTEXT in registrations.
const saslPlaintext = 2

// told is what clients hear of a listener: what is advertised, with the port
// that was bound where 0 was asked for and the machine's name where the host is
// every address.
func told(l config.Listener, bound net.Addr, advertised []config.Listener) cluster.Endpoint {
	e := cluster.Endpoint{Listener: l.Name, Host: l.Host, Port: uint16(l.Port)}
	if l.SASL() {
		e.Protocol = saslPlaintext
	}
	for _, a := range advertised {
		if a.Name == l.Name {
			e.Host, e.Port = a.Host, uint16(a.Port)
		}
	}
	if e.Port == 0 {
		if _, port, err := net.SplitHostPort(bound.String()); err == nil {
			n, _ := strconv.Atoi(port)
			e.Port = uint16(n)
		}
	}
	if ip := net.ParseIP(e.Host); e.Host == "" || ip != nil && ip.IsUnspecified() {
		e.Host = "localhost"
		if name, err := os.Hostname(); err == nil {
			e.Host = name
		}
	}
	return e
}

func (s *sockets) close() {
	for _, l := range s.all {
		l.Net.Close()
	}
	if s.admin != nil {
		s.admin.Close()
	}
}

func explainListen(what, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is in use by another process: stop that one, or choose another port (--port 0 takes any)", what, addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: not allowed to listen on %s: ports below 1024 need privileges", what, addr)
	}
	return fmt.Errorf("%s: cannot listen on %s: %w", what, addr, err)
}
