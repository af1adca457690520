package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

const (
	leasedFor   = 60 * time.Second // at first, and each time that it is prolonged
	needed      = leasedFor + 15*time.Second
	notAgainFor = leasedFor // after its end: the last lease is over then
	sendEach    = 2 * time.Second
)

// slow takes its time over messages with its body, and notes each of their deliveries.
type slow struct {
	body     string
	arrived  chan struct{}
	consumed chan struct{}
	lock     sync.Mutex
	attempts []int32
}

func (s *slow) consume(message *rmq.MessageView) rmq.ConsumerResult {
	if string(message.GetBody()) != s.body {
		return rmq.SUCCESS
	}
	s.lock.Lock()
	s.attempts = append(s.attempts, message.GetDeliveryAttempt())
	isFirst := len(s.attempts) == 1
	s.lock.Unlock()
	if isFirst {
		close(s.arrived)
	}
	time.Sleep(needed)
	if isFirst {
		close(s.consumed)
	}
	return rmq.SUCCESS
}

// autoRenew consumes a message for longer than it was leased for, with a push consumer, whose leases are prolonged.
func autoRenew(p place) (string, error) {
	s := &slow{body: newBody(0), arrived: make(chan struct{}), consumed: make(chan struct{})}
	_, err := start(func() (rmq.PushConsumer, error) {
		return rmq.NewPushConsumer(p.config(p.group()),
			rmq.WithPushAwaitDuration(poll),
			rmq.WithPushSubscriptionExpressions(map[string]*rmq.FilterExpression{p.topic: rmq.SUB_ALL}),
			rmq.WithPushMessageListener(&rmq.FuncMessageListener{Consume: s.consume}))
	})
	if err != nil {
		return "", err
	}
	if err := p.sendUntil(s.body, s.arrived); err != nil {
		return "", err
	}
	select {
	case <-s.consumed:
	case <-time.After(needed + arrivesWithin):
		return "", fmt.Errorf("the listener does not come back")
	}
	time.Sleep(notAgainFor)
	s.lock.Lock()
	defer s.lock.Unlock()
	// Those that were sent while the group began may come besides, each once.
	if slices.ContainsFunc(s.attempts, func(attempt int32) bool { return attempt != 1 }) {
		return "", fmt.Errorf("delivered again: attempts are %v", s.attempts)
	}
	return fmt.Sprintf("consumed for %v by a lease of %v, acknowledged, not delivered again", needed, leasedFor), nil
}

// sendUntil sends a message until one has arrived: a group that is new begins at the end, when it first asks.
func (p place) sendUntil(body string, arrived <-chan struct{}) error {
	producer, err := start(func() (rmq.Producer, error) { return rmq.NewProducer(p.config(""), rmq.WithTopics(p.topic)) })
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(arrivesWithin); time.Now().Before(deadline); {
		if _, err := producer.Send(context.Background(), &rmq.Message{Topic: p.topic, Body: []byte(body)}); err != nil {
			return err
		}
		select {
		case <-arrived:
			return nil
		case <-time.After(sendEach):
		}
	}
	return fmt.Errorf("nothing arrives")
}
