// What the Go example does not show: a batch of messages in one send, where a message goes whose attempts are used up, and a lease that
// is prolonged while its consumer works.
//
//	scenarios NAME --endpoint HOST:PORT
//
// It prints a line of JSON as the examples do; the exit code is 1 if it did not hold. Topics are example-go-NAME, groups <topic>-group;
// that of dead-letter has two attempts, and its dead-letter topic is there with a group of its own. Messages are received with the SDK's
// consumers; the SDK has no batches, so these are sent with its stubs. auto-renew takes two minutes.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

const (
	poll      = 5 * time.Second  // one long poll; Apache refuses shorter ones
	invisible = 10 * time.Second // the shortest time to consume that Apache accepts
	// The SDK's start gives up at the first request that takes longer than 3 s.
	startAttempts = 3
	arrivesWithin = 60 * time.Second
)

// place is the proxy that clients connect to, and the topic of what is shown; its group is <topic>-group.
type place struct {
	proxy, topic string
}

var scenarios = map[string]func(place) (string, error){
	"batch":       batch,
	"dead-letter": deadLetter,
	"auto-renew":  autoRenew,
}

func main() {
	if len(os.Args) != 4 || scenarios[os.Args[1]] == nil || os.Args[2] != "--endpoint" {
		fmt.Fprintln(os.Stderr, "usage: scenarios batch|dead-letter|auto-renew --endpoint HOST:PORT")
		os.Exit(2)
	}
	os.Setenv(rmq.CLIENT_LOG_ROOT, filepath.Join(os.TempDir(), "rocketmq-go-logs"))
	rmq.ResetLogger()
	name := os.Args[1]
	detail, err := scenarios[name](place{proxy: os.Args[3], topic: "example-go-" + name})
	if err != nil {
		detail = err.Error()
	}
	line, _ := json.Marshal(struct {
		SDK     string `json:"sdk"`
		Feature string `json:"feature"`
		OK      bool   `json:"ok"`
		Detail  string `json:"detail"`
	}{"go", name, err == nil, detail})
	fmt.Println(string(line))
	if err != nil {
		os.Exit(1)
	}
}

func (p place) group() string { return p.topic + "-group" }

func (p place) config(group string) *rmq.Config {
	return &rmq.Config{Endpoint: p.proxy, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{}}
}

// start builds and starts a client, anew for each attempt.
func start[C interface{ Start() error }](build func() (C, error)) (C, error) {
	for attempt := 1; ; attempt++ {
		client, err := build()
		if err == nil {
			err = client.Start()
		}
		if err == nil || attempt == startAttempts {
			return client, err
		}
	}
}

// newBody is of this run only: topics outlive it.
func newBody(number int) string {
	return fmt.Sprintf("%d-%d-%d", os.Getpid(), time.Now().UnixNano(), number)
}
