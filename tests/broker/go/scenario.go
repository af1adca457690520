package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const (
	within   = 90 * time.Second      // for what must come
	lookEach = 50 * time.Millisecond // for a condition
	count    = 64                    // messages of one kind
	attempts = 5                     // of a send: each has 3 s, and the machine may be busy with something else
	queues   = 4                     // of a topic that is made by its first use
)

// complaint is what a scenario ends with that does not hold.
type complaint string

func check(holds bool, format string, values ...any) {
	if !holds {
		panic(complaint(fmt.Sprintf(format, values...)))
	}
}

func must(err error) {
	check(err == nil, "%v", err)
}

// await waits until something holds.
func await(holds func() bool, shown func() string) {
	for deadline := time.Now().Add(within); !holds(); time.Sleep(lookEach) {
		check(time.Now().Before(deadline), "%s", shown())
	}
}

// scenario has a topic and groups of its own.
type scenario struct {
	name       string
	nameServer string
	atEnd      []func() error
	fills      int
}

// stop ends what it has started, the last first.
func (s *scenario) stop() {
	for last := len(s.atEnd) - 1; last >= 0; last-- {
		must(s.atEnd[last]())
	}
}

func (s *scenario) topic() string {
	return "go-" + s.name
}

func (s *scenario) group(of string) string {
	return "go-" + s.name + "-" + of
}

func (s *scenario) resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{s.nameServer})
}

func (s *scenario) tracing() *primitive.TraceConfig {
	return &primitive.TraceConfig{Access: primitive.Local, Resolver: s.resolver()}
}

var instances atomic.Int64

// instance names a client: those of one process share theirs else, and with it their one consumer a group.
func instance() string {
	return fmt.Sprintf("go-%d-%d", os.Getpid(), instances.Add(1))
}

func (s *scenario) producerOptions(more ...producer.Option) []producer.Option {
	return append([]producer.Option{
		producer.WithNsResolver(s.resolver()),
		producer.WithGroupName(s.group("producers")),
		producer.WithInstanceName(instance()),
		producer.WithRetry(attempts - 1),
	}, more...)
}

func (s *scenario) producer(more ...producer.Option) rocketmq.Producer {
	made, err := rocketmq.NewProducer(s.producerOptions(more...)...)
	must(err)
	must(made.Start())
	s.atEnd = append(s.atEnd, made.Shutdown)
	return made
}

func (s *scenario) message(text string) *primitive.Message {
	tag := "odd"
	if number(text)%2 == 0 {
		tag = "even"
	}
	return primitive.NewMessage(s.topic(), []byte(text)).WithTag(tag).WithKeys([]string{text})
}

// number is what a text ends with.
func number(text string) int {
	found, err := strconv.Atoi(text[strings.LastIndexByte(text, '-')+1:])
	must(err)
	return found
}

// fill sends messages over all queues; their texts, which no other call has, end with their numbers.
func (s *scenario) fill(through rocketmq.Producer, messages int) []string {
	s.fills++
	sent := make([]string, messages)
	for one := range sent {
		sent[one] = fmt.Sprintf("fill%d-%d", s.fills, one)
		_, err := through.SendSync(context.Background(), s.message(sent[one]))
		must(err)
	}
	return sent
}

// queuesOf waits until the name server knows a topic: consumers do not start before.
func (s *scenario) queuesOf(topic string) []*primitive.MessageQueue {
	asking, err := admin.NewAdmin(admin.WithResolver(s.resolver()))
	must(err)
	defer asking.Close()
	var found []*primitive.MessageQueue
	await(func() bool {
		found, err = asking.FetchPublishMessageQueues(context.Background(), topic)
		return err == nil && len(found) > 0
	}, func() string { return fmt.Sprintf("no route to %s: %v", topic, err) })
	return found
}

type listener = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// push starts a consumer of the scenario's topic, or of another.
func (s *scenario) push(group, topic string, selector consumer.MessageSelector, listen listener,
	more ...consumer.Option) rocketmq.PushConsumer {
	s.queuesOf(topic)
	made, err := rocketmq.NewPushConsumer(append([]consumer.Option{
		consumer.WithNsResolver(s.resolver()),
		consumer.WithGroupName(s.group(group)),
		consumer.WithInstance(instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, more...)...)
	must(err)
	must(made.Subscribe(topic, selector, listen))
	must(made.Start())
	s.atEnd = append(s.atEnd, made.Shutdown)
	return made
}

// known makes a group's retry topic: a consumer looks for it when it starts, and then each 30 s only.
func (s *scenario) known(group string) {
	first := s.push(group, s.topic(), consumer.MessageSelector{}, newInbox().listen)
	s.queuesOf("%RETRY%" + s.group(group))
	must(first.Shutdown())
}

// inbox is what a consumer has received.
type inbox struct {
	lock     sync.Mutex
	messages map[string][]*primitive.MessageExt
}

func newInbox() *inbox {
	return &inbox{messages: map[string][]*primitive.MessageExt{}}
}

// listen consumes all that comes.
func (i *inbox) listen(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	for _, message := range messages {
		i.put(message)
	}
	return consumer.ConsumeSuccess, nil
}

// put says how often the message has come.
func (i *inbox) put(message *primitive.MessageExt) int {
	i.lock.Lock()
	defer i.lock.Unlock()
	text := string(message.Body)
	i.messages[text] = append(i.messages[text], message)
	return len(i.messages[text])
}

func (i *inbox) times(text string) int {
	i.lock.Lock()
	defer i.lock.Unlock()
	return len(i.messages[text])
}

func (i *inbox) first(text string) *primitive.MessageExt {
	i.lock.Lock()
	defer i.lock.Unlock()
	return i.messages[text][0]
}

func (i *inbox) awaitAll(texts []string) {
	missing := func() (missing []string) {
		for _, text := range texts {
			if i.times(text) == 0 {
				missing = append(missing, text)
			}
		}
		return missing
	}
	await(func() bool { return len(missing()) == 0 }, func() string {
		return fmt.Sprintf("%d of %d have not come: %q", len(missing()), len(texts), missing())
	})
}

// all are the texts that have come.
func (i *inbox) all() (texts []string) {
	i.lock.Lock()
	defer i.lock.Unlock()
	for text := range i.messages {
		texts = append(texts, text)
	}
	return texts
}
