package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const defaultBroker = "127.0.0.1:9092"

// clientKeys are what -X understands, in Kafka's spelling; aliases are those of
// librdkafka and rpk.
var (
	clientKeys = []string{"bootstrap.servers", "client.id", "security.protocol", "ssl.ca.location", "ssl.certificate.location",
		"ssl.key.location", "sasl.mechanism", "sasl.username", "sasl.password"}
	clientAliases = map[string]string{
		"brokers": "bootstrap.servers", "metadata.broker.list": "bootstrap.servers", "sasl.mechanisms": "sasl.mechanism",
		"user": "sasl.username", "pass": "sasl.password", "tls.ca": "ssl.ca.location", "tls.cert": "ssl.certificate.location",
		"tls.key": "ssl.key.location", "sasl.mech": "sasl.mechanism",
	}
)

// properties reads -X.
func (a *app) properties() (map[string]string, error) {
	set := map[string]string{}
	for _, kv := range a.x {
		k, v, ok := strings.Cut(kv, "=")
		if name, alias := clientAliases[k]; alias {
			k = name
		}
		if !ok || !slices.Contains(clientKeys, k) {
			return nil, usage("-X %s: want KEY=VALUE with one of %s", kv, strings.Join(clientKeys, ", "))
		}
		set[k] = v
	}
	return set, nil
}

// seeds are the brokers to ask first: -b, else -X bootstrap.servers, else
// $MYELIN_BROKERS, else the address where dev listens.
func (a *app) seeds(x map[string]string) []string {
	for _, s := range []string{strings.Join(a.brokers, ","), x["bootstrap.servers"], a.env("MYELIN_BROKERS"), defaultBroker} {
		if s == "" {
			continue
		}
		var all []string
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				if _, _, err := net.SplitHostPort(part); err != nil {
					part = net.JoinHostPort(strings.Trim(part, "[]"), "9092")
				}
				all = append(all, part)
			}
		}
		return all
	}
	return nil
}

// connect makes a client and makes sure that a broker answers.
func (a *app) connect(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	x, err := a.properties()
	if err != nil {
		return nil, err
	}
	seeds := a.seeds(x)
	secure, err := security(x)
	if err != nil {
		return nil, err
	}
	id := x["client.id"]
	if id == "" {
		id = "myelin-cli"
	}
	all := append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID(id), kgo.RequestRetries(3), kgo.RetryTimeout(a.timeout), kgo.DialTimeout(a.timeout),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}, secure...)
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, usage("%s", oneLine(err))
	}
	ask, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if err := cl.Ping(ask); err != nil {
		cl.Close()
		var network net.Error
		switch first := (*kgo.ErrFirstReadEOF)(nil); {
		case ctx.Err() != nil, errors.As(err, &first), classify(err).code == exitDenied:
			return nil, err
		case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF):
			return nil, unreachable(strings.Join(seeds, ", "), err)
		}
		return nil, fmt.Errorf("%s answers, but not as a Kafka broker does: %w", strings.Join(seeds, ", "), err)
	}
	return cl, nil
}

// admin is connect for commands that only ask and change.
func (a *app) admin(ctx context.Context) (*kadm.Client, func(), error) {
	cl, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(int32(min(a.timeout.Milliseconds(), 1<<31-1)))
	return adm, cl.Close, nil
}

// security turns -X into TLS and SASL options.
func security(x map[string]string) ([]kgo.Opt, error) {
	protocol := strings.ToUpper(x["security.protocol"])
	var opts []kgo.Opt
	switch protocol {
	case "", "PLAINTEXT", "SASL_PLAINTEXT":
	case "SSL", "SASL_SSL":
		conf, err := tlsConfig(x)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(conf))
	default:
		return nil, usage("-X security.protocol=%s: want PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", protocol)
	}
	if x["sasl.username"] == "" && !strings.HasPrefix(protocol, "SASL") {
		return opts, nil
	}
	user, pass := x["sasl.username"], x["sasl.password"]
	switch mech := strings.ToUpper(x["sasl.mechanism"]); mech {
	case "PLAIN", "":
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: pass}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: pass}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: pass}.AsSha512Mechanism()))
	default:
		return nil, usage("-X sasl.mechanism=%s: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", mech)
	}
	return opts, nil
}

func tlsConfig(x map[string]string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := x["ssl.ca.location"]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage("%s holds no certificate in PEM form", file)
		}
	}
	if file := x["ssl.certificate.location"]; file != "" {
		pair, err := tls.LoadX509KeyPair(file, x["ssl.key.location"])
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
