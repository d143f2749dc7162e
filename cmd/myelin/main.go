// Command myelin is an event-streaming platform that speaks the Apache Kafka
// protocol: broker, tools and clients in one binary.
package main

import (
	"context"
	"os"

	"github.com/myelin-stream/myelin/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), cli.OS()))
}
