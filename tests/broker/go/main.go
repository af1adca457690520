// Scenarios of Apache's Go client for RocketMQ 4.x, rocketmq-client-go/v2, against whatever brokers a name server knows.
//
//	clients NAMESERVER [SCENARIO...]
//
// All of them, or those that are named, run side by side, each with topics and groups of its own. Each prints
// "passed SCENARIO: what was seen", which is the same at every broker that does its work, or "failed SCENARIO: why", in their order;
// the exit code is 1 if one failed. Topics are made by their first use. What the client itself does not do is in gaps of
// docs/clients.md: the scenarios go round it, and fail when it is no longer so.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var scenarios = []struct {
	name string
	show func(*scenario) string
}{
	{"send", send},
	{"batch", batch},
	{"selectors", selectors},
	{"clustering", clustering},
	{"broadcasting", broadcasting},
	{"orderly", orderly},
	{"later", later},
	{"deadletter", deadLetter},
	{"filter", filter},
	{"delay", delay},
	{"transaction", transaction},
	{"pull", pull},
	{"poll", poll},
	{"request", request},
	{"trace", trace},
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: clients NAMESERVER [SCENARIO...]")
		os.Exit(2)
	}
	rlog.SetLogLevel("warn")
	chosen := map[string]bool{}
	for _, name := range os.Args[2:] {
		chosen[name] = true
	}
	var lines []chan string
	for _, one := range scenarios {
		if len(chosen) == 0 || chosen[one.name] {
			line := make(chan string, 1)
			lines = append(lines, line)
			go func() { line <- run(&scenario{name: one.name, nameServer: os.Args[1]}, one.show) }()
		}
	}
	code := 0
	for _, line := range lines {
		shown := <-line
		fmt.Println(shown)
		if shown[0] == 'f' {
			code = 1
		}
	}
	// Clients leave goroutines behind.
	os.Exit(code)
}

// run shows a scenario; what does not hold there comes as a panic.
func run(of *scenario, show func(*scenario) string) (line string) {
	defer func() {
		if why := recover(); why != nil {
			if _, ok := why.(complaint); !ok {
				fmt.Fprintf(os.Stderr, "%s: %v\n%s\n", of.name, why, debug.Stack())
			}
			line = fmt.Sprintf("failed %s: %v", of.name, why)
		}
	}()
	began := time.Now()
	seen := show(of)
	of.stop()
	fmt.Fprintf(os.Stderr, "%s took %v\n", of.name, time.Since(began))
	return fmt.Sprintf("passed %s: %s", of.name, seen)
}
