package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
)

// consumer receives messages one by one.
type consumer struct {
	rmq.SimpleConsumer
}

// startConsumer starts one of a group. A group that is new begins at the end of its topic: it is there once it has asked.
func (p place) startConsumer(topic, group string) (consumer, error) {
	simple, err := start(func() (rmq.SimpleConsumer, error) {
		return rmq.NewSimpleConsumer(p.config(group),
			rmq.WithSimpleAwaitDuration(poll),
			rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: rmq.SUB_ALL}))
	})
	if err != nil {
		return consumer{}, err
	}
	started := consumer{simple}
	_, err = started.receive(nil)
	return started, err
}

// receive waits once, and hands out the messages with these bodies; others are of earlier runs, and acknowledged.
func (c consumer) receive(bodies []string) ([]*rmq.MessageView, error) {
	messages, err := c.Receive(context.Background(), 16, invisible)
	if status, ok := rmq.AsErrRpcStatus(err); ok && status.Code == int32(v2.Code_MESSAGE_NOT_FOUND) {
		return nil, nil // how this SDK says that a poll ended with nothing
	}
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	var found []*rmq.MessageView
	for _, message := range messages {
		if slices.Contains(bodies, string(message.GetBody())) {
			found = append(found, message)
		} else if err := c.Ack(context.Background(), message); err != nil {
			return nil, fmt.Errorf("ack: %w", err)
		}
	}
	return found, nil
}

// receiveAll receives until there are as many messages as bodies.
func (c consumer) receiveAll(bodies []string) ([]*rmq.MessageView, error) {
	var found []*rmq.MessageView
	for deadline := time.Now().Add(arrivesWithin); len(found) < len(bodies); {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d messages came", len(found), len(bodies))
		}
		some, err := c.receive(bodies)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}
