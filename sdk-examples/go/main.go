// What the official Go SDK of RocketMQ can do, feature by feature, against any RocketMQ 5 endpoint.
//
// Each feature sends, receives and checks for itself, then prints one line of JSON:
// {"sdk":"go","feature":"fifo","ok":true,"detail":"..."}; ok is null where the SDK has no such feature.
// The exit code is 1 if any feature failed. The other four SDKs have the same program in their own language.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
)

// Every wait ends.
const (
	poll              = 5 * time.Second  // one long poll; Apache refuses shorter ones
	invisible         = 10 * time.Second // the shortest time to consume that Apache accepts
	shortened         = 3 * time.Second  // what the time to consume is changed to
	arrivesWithin     = 30 * time.Second // for a message that must come
	absentFor         = 8 * time.Second  // for a message that must not come
	notRedeliveredFor = invisible + 5*time.Second
	delayFor          = 4 * time.Second
	checkBackWithin   = 90 * time.Second // the server asks after 6 to 40 s, depending on its settings
	redeliveredWithin = 60 * time.Second
	featureWithin     = 240 * time.Second // for all of a feature: Start waits for ever if the server sends no settings
	// The SDK's start gives up at the first request that takes longer than 3 s; Java's and Node's try three times.
	startAttempts = 3
	// Clocks are read in milliseconds on both sides.
	earlyTolerance = 100 * time.Millisecond
)

// Topics outlive a run, so each message says which run it belongs to; those of others are acknowledged and ignored.
var run = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())

// errUnsupported is returned by a feature that the SDK does not have.
var errUnsupported = errors.New("unsupported")

// example knows where the features find their server, topics and groups.
type example struct {
	endpoint, prefix string
}

// features, in the order in which "all" runs them. Each returns what it saw.
var features = []struct {
	name string
	show func(example) (string, error)
}{
	{"normal", example.normal},
	{"fifo", example.fifo},
	{"delay", example.delay},
	{"transaction", example.transaction},
	{"push", example.push},
	{"recall", example.recall},
	{"filter", example.filter},
}

func main() {
	var e example
	flag.StringVar(&e.endpoint, "endpoint", cmp.Or(os.Getenv("GANTRY_ENDPOINT"), "127.0.0.1:8081"), "host:port")
	flag.StringVar(&e.prefix, "prefix", "example", "of topics and groups: <prefix>-go-<feature>[-group]")
	plaintext := flag.Bool("plaintext", false, "without TLS, which this SDK uses by default")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: run [feature|all|stream] [flags]")
		flag.PrintDefaults()
	}

	// The flag package stops at the first argument that is no flag, and the feature may come first.
	chosen, arguments := "all", os.Args[1:]
	if len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		chosen, arguments = arguments[0], arguments[1:]
	}
	flag.CommandLine.Parse(arguments)
	chosen = cmp.Or(flag.Arg(0), chosen)

	rmq.EnableSsl = !*plaintext
	os.Setenv(rmq.CLIENT_LOG_ROOT, filepath.Join(os.TempDir(), "rocketmq-go-logs"))
	rmq.ResetLogger()

	if chosen == "stream" {
		fmt.Fprintln(os.Stderr, e.stream())
		os.Exit(1)
	}
	exitCode, isKnown := 0, false
	for _, feature := range features {
		if chosen != "all" && chosen != feature.name {
			continue
		}
		isKnown = true
		if !report(feature.name, feature.show, e) {
			exitCode = 1
		}
	}
	if !isKnown {
		fmt.Fprintln(os.Stderr, "unknown feature", chosen)
		exitCode = 2
	}
	os.Exit(exitCode)
}

// report shows one feature, prints its line, and says whether it did not fail.
func report(name string, show func(example) (string, error), e example) bool {
	type result struct {
		detail string
		err    error
	}
	results := make(chan result, 1)
	go func() {
		detail, err := show(e)
		results <- result{detail, err}
	}()
	var detail string
	var err error
	select {
	case r := <-results:
		detail, err = r.detail, r.err
	case <-time.After(featureWithin):
		err = fmt.Errorf("not finished within %v", featureWithin)
	}

	ok := new(bool)
	switch {
	case errors.Is(err, errUnsupported):
		ok = nil
	case err != nil:
		detail = err.Error()
	default:
		*ok = true
	}
	line, _ := json.Marshal(struct {
		SDK     string `json:"sdk"`
		Feature string `json:"feature"`
		OK      *bool  `json:"ok"`
		Detail  string `json:"detail"`
	}{"go", name, ok, detail})
	fmt.Println(string(line))
	return ok == nil || *ok
}

func (e example) topic(feature string) string { return e.prefix + "-go-" + feature }

func (e example) config(group string) *rmq.Config {
	return &rmq.Config{Endpoint: e.endpoint, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{}}
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

func (e example) startProducer(topic string, options ...rmq.ProducerOption) (rmq.Producer, error) {
	return start(func() (rmq.Producer, error) {
		return rmq.NewProducer(e.config(""), append(options, rmq.WithTopics(topic))...)
	})
}

// consumer is a simple consumer that hands out this run's messages only.
type consumer struct {
	rmq.SimpleConsumer
}

func (e example) startConsumer(topic, group string, expression *rmq.FilterExpression) (consumer, error) {
	simple, err := start(func() (rmq.SimpleConsumer, error) {
		return rmq.NewSimpleConsumer(e.config(group),
			rmq.WithSimpleAwaitDuration(poll),
			rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: expression}))
	})
	return consumer{simple}, err
}

// startBoth starts what most features need; the function it returns stops both.
func (e example) startBoth(topic string, options ...rmq.ProducerOption) (rmq.Producer, consumer, func(), error) {
	producer, err := e.startProducer(topic, options...)
	if err != nil {
		return nil, consumer{}, nil, err
	}
	simple, err := e.startConsumer(topic, topic+"-group", rmq.SUB_ALL)
	if err != nil {
		producer.GracefulStop()
		return nil, consumer{}, nil, err
	}
	return producer, simple, func() { simple.GracefulStop(); producer.GracefulStop() }, nil
}

func newMessage(topic, body string) *rmq.Message {
	message := &rmq.Message{Topic: topic, Body: []byte(body)}
	message.AddProperty("run", run)
	return message
}

func send(producer rmq.Producer, messages ...*rmq.Message) error {
	for _, message := range messages {
		if _, err := producer.Send(context.Background(), message); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

// receive calls take with each of this run's messages, until take returns false or the time is over.
func (c consumer) receive(within time.Duration, take func(*rmq.MessageView) (bool, error)) error {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		messages, err := c.Receive(context.Background(), 16, invisible)
		if status, ok := rmq.AsErrRpcStatus(err); ok && status.Code == int32(v2.Code_MESSAGE_NOT_FOUND) {
			continue // how this SDK says that a poll ended with nothing
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for _, message := range messages {
			if message.GetProperties()["run"] != run {
				if err := c.Ack(context.Background(), message); err != nil {
					return err
				}
				continue
			}
			if wantsMore, err := take(message); err != nil || !wantsMore {
				return err
			}
		}
	}
	return nil
}

func (c consumer) receiveOne() (*rmq.MessageView, error) {
	var one *rmq.MessageView
	err := c.receive(arrivesWithin, func(message *rmq.MessageView) (bool, error) {
		one = message
		return false, nil
	})
	if err == nil && one == nil {
		err = fmt.Errorf("no message within %v", arrivesWithin)
	}
	return one, err
}

// receiveBodies receives and acknowledges until there are count messages or the time is over.
func (c consumer) receiveBodies(count int, within time.Duration) ([]string, error) {
	var bodies []string
	err := c.receive(within, func(message *rmq.MessageView) (bool, error) {
		bodies = append(bodies, string(message.GetBody()))
		return len(bodies) < count, c.Ack(context.Background(), message)
	})
	return bodies, err
}

// expectBodies is receiveBodies with a complaint about anything but what is expected, in any order.
func (c consumer) expectBodies(within time.Duration, expected ...string) error {
	bodies, err := c.receiveBodies(max(1, len(expected)), within)
	if err != nil {
		return err
	}
	slices.Sort(bodies)
	if !slices.Equal(bodies, expected) {
		return fmt.Errorf("expected %q, delivered %q", expected, bodies)
	}
	return nil
}

func (e example) normal() (string, error) {
	topic := e.topic("normal")
	producer, consumer, stop, err := e.startBoth(topic)
	if err != nil {
		return "", err
	}
	defer stop()

	message := newMessage(topic, "hello")
	message.SetTag("greeting")
	message.SetKeys("k1", "k2")
	message.AddProperty("colour", "blue")
	if err := send(producer, message); err != nil {
		return "", err
	}

	first, err := consumer.receiveOne()
	if err != nil {
		return "", err
	}
	keys := slices.Sorted(slices.Values(first.GetKeys()))
	switch {
	case string(first.GetBody()) != "hello":
		return "", fmt.Errorf("body is %q", first.GetBody())
	case first.GetTag() == nil || *first.GetTag() != "greeting":
		return "", fmt.Errorf("tag is %v", first.GetTag())
	case !slices.Equal(keys, []string{"k1", "k2"}):
		return "", fmt.Errorf("keys are %q", keys)
	case first.GetProperties()["colour"] != "blue":
		return "", fmt.Errorf("properties are %v", first.GetProperties())
	case first.GetDeliveryAttempt() != 1:
		return "", fmt.Errorf("first delivery is attempt %d", first.GetDeliveryAttempt())
	}

	if err := consumer.ChangeInvisibleDuration(first, shortened); err != nil {
		return "", err
	}
	changedAt := time.Now()
	second, err := consumer.receiveOne()
	if err != nil {
		return "", err
	}
	waited := time.Since(changedAt)
	switch {
	case second.GetMessageId() != first.GetMessageId():
		return "", errors.New("another message came instead of the redelivery")
	case second.GetDeliveryAttempt() != 2:
		return "", fmt.Errorf("second delivery is attempt %d", second.GetDeliveryAttempt())
	case waited < shortened-earlyTolerance:
		return "", fmt.Errorf("delivered again after %v, before its time", waited)
	}

	if err := consumer.Ack(context.Background(), second); err != nil {
		return "", err
	}
	if err := consumer.expectBodies(notRedeliveredFor); err != nil {
		return "", fmt.Errorf("after its acknowledgement: %w", err)
	}
	return "body, tag, keys and properties arrived; invisible time shortened, delivered again as attempt 2; " +
		"acknowledged, not delivered again", nil
}

func (e example) fifo() (string, error) {
	topic := e.topic("fifo")
	producer, consumer, stop, err := e.startBoth(topic)
	if err != nil {
		return "", err
	}
	defer stop()

	groups := []string{"red", "green", "blue"}
	expected := []string{"0", "1", "2", "3"}
	for number := range expected {
		for _, group := range groups {
			message := newMessage(topic, strconv.Itoa(number))
			message.SetMessageGroup(group)
			if err := send(producer, message); err != nil {
				return "", err
			}
		}
	}

	order := map[string][]string{}
	count := 0
	err = consumer.receive(arrivesWithin, func(message *rmq.MessageView) (bool, error) {
		group := *message.GetMessageGroup()
		order[group] = append(order[group], string(message.GetBody()))
		count++
		return count < len(groups)*len(expected), consumer.Ack(context.Background(), message)
	})
	if err != nil {
		return "", err
	}
	for _, group := range groups {
		if !slices.Equal(order[group], expected) {
			return "", fmt.Errorf("order in group %s is %q", group, order[group])
		}
	}
	return "12 messages in 3 groups arrived in order within each group", nil
}

func (e example) delay() (string, error) {
	topic := e.topic("delay")
	producer, consumer, stop, err := e.startBoth(topic)
	if err != nil {
		return "", err
	}
	defer stop()

	due := time.Now().Add(delayFor)
	message := newMessage(topic, "later")
	message.SetDelayTimestamp(due)
	if err := send(producer, message); err != nil {
		return "", err
	}
	arrived, err := consumer.receiveOne()
	if err != nil {
		return "", err
	}
	if early := time.Until(due); early > earlyTolerance {
		return "", fmt.Errorf("delivered %v early", early)
	}
	return "delivered, not before its time", consumer.Ack(context.Background(), arrived)
}

func (e example) transaction() (string, error) {
	topic := e.topic("transaction")
	// Answers the server's question from what this run decided; a real one would look into its database.
	var wasAsked atomic.Bool
	checker := rmq.WithTransactionChecker(&rmq.TransactionChecker{
		Check: func(message *rmq.MessageView) rmq.TransactionResolution {
			if message.GetProperties()["run"] != run {
				return rmq.ROLLBACK
			}
			wasAsked.Store(true)
			return rmq.COMMIT
		},
	})
	producer, consumer, stop, err := e.startBoth(topic, checker)
	if err != nil {
		return "", err
	}
	defer stop()

	begin := func(body string) (rmq.Transaction, error) {
		transaction := producer.BeginTransaction()
		_, err := producer.SendWithTransaction(context.Background(), newMessage(topic, body), transaction)
		return transaction, err
	}
	committed, err := begin("committed")
	if err == nil {
		err = committed.Commit()
	}
	if err != nil {
		return "", err
	}
	rolledBack, err := begin("rolled back")
	if err == nil {
		err = rolledBack.RollBack()
	}
	if err != nil {
		return "", err
	}
	if err := consumer.expectBodies(arrivesWithin, "committed"); err != nil {
		return "", err
	}

	if _, err := begin("unresolved"); err != nil {
		return "", err
	}
	if err := consumer.expectBodies(checkBackWithin, "unresolved"); err != nil {
		return "", fmt.Errorf("after the check-back: %w", err)
	}
	if !wasAsked.Load() {
		return "", errors.New("delivered without asking the checker")
	}
	if err := consumer.expectBodies(absentFor); err != nil {
		return "", err
	}
	return "committed one delivered, unresolved one delivered after check-back, rolled back one not delivered", nil
}

func (e example) push() (string, error) {
	topic := e.topic("push")
	producer, err := e.startProducer(topic)
	if err != nil {
		return "", err
	}
	defer producer.GracefulStop()

	// Refuses the first delivery of the message "second chance".
	var lock sync.Mutex
	var attempts []string
	done := make(chan struct{})
	listener := &rmq.FuncMessageListener{Consume: func(message *rmq.MessageView) rmq.ConsumerResult {
		if message.GetProperties()["run"] != run {
			return rmq.SUCCESS
		}
		lock.Lock()
		defer lock.Unlock()
		attempt := fmt.Sprintf("%s %d", message.GetBody(), message.GetDeliveryAttempt())
		isFirstFailure := attempt == "second chance 1" && !slices.Contains(attempts, attempt)
		attempts = append(attempts, attempt)
		if len(attempts) == 3 {
			close(done)
		}
		if isFirstFailure {
			return rmq.FAILURE
		}
		return rmq.SUCCESS
	}}
	consumer, err := start(func() (rmq.PushConsumer, error) {
		return rmq.NewPushConsumer(e.config(topic+"-group"),
			rmq.WithPushAwaitDuration(poll),
			rmq.WithPushSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: rmq.SUB_ALL}),
			rmq.WithPushMessageListener(listener))
	})
	if err != nil {
		return "", err
	}

	if err := send(producer, newMessage(topic, "straight"), newMessage(topic, "second chance")); err != nil {
		return "", err
	}
	select {
	case <-done:
	case <-time.After(redeliveredWithin):
	}
	if err := consumer.GracefulStop(); err != nil {
		return "", err
	}
	lock.Lock()
	defer lock.Unlock()
	slices.Sort(attempts)
	if !slices.Equal(attempts, []string{"second chance 1", "second chance 2", "straight 1"}) {
		return "", fmt.Errorf("attempts are %q", attempts)
	}
	return "one message consumed at once, one refused and consumed as attempt 2", nil
}

func (e example) recall() (string, error) {
	return "SDK cannot recall a message", errUnsupported
}

func (e example) filter() (string, error) {
	topic := e.topic("filter")
	producer, err := e.startProducer(topic)
	if err != nil {
		return "", err
	}
	defer producer.GracefulStop()
	byTag, err := e.startConsumer(topic, topic+"-group", rmq.NewFilterExpression("a || b"))
	if err != nil {
		return "", err
	}
	defer byTag.GracefulStop()
	expression := "(amount > 10 AND region = 'eu') OR region = 'us'"
	bySQL, err := e.startConsumer(topic, topic+"-sql-group",
		rmq.NewFilterExpressionWithType(expression, rmq.SQL92))
	if err != nil {
		return "", err
	}
	defer bySQL.GracefulStop()

	for _, m := range []struct{ tag, amount, region string }{{"a", "20", "eu"}, {"b", "5", "eu"}, {"c", "30", "us"}} {
		message := newMessage(topic, m.tag)
		message.SetTag(m.tag)
		message.AddProperty("amount", m.amount)
		message.AddProperty("region", m.region)
		if err := send(producer, message); err != nil {
			return "", err
		}
	}
	if err := byTag.expectBodies(arrivesWithin, "a", "b"); err != nil {
		return "", fmt.Errorf("tag filter: %w", err)
	}
	if err := byTag.expectBodies(absentFor); err != nil {
		return "", fmt.Errorf("tag filter: %w", err)
	}
	if err := bySQL.expectBodies(arrivesWithin, "a", "c"); err != nil {
		return "", fmt.Errorf("SQL filter: %w", err)
	}
	if err := bySQL.expectBodies(absentFor); err != nil {
		return "", fmt.Errorf("SQL filter: %w", err)
	}
	return "tag a || b: 2 of 3 messages; SQL92: 2 of 3 messages", nil
}
