package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// requests are made of each kind.
const requests = 8

// request asks and is answered, waiting and by a callback.
func request(s *scenario) string {
	asking := s.producer()
	s.fill(asking, 1)
	replying := s.replier()
	listen := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			if consumer.GetReplyToClient(message) != "" {
				answer(replying, message)
			}
		}
		return consumer.ConsumeSuccess, nil
	}
	s.push("answering", s.topic(), consumer.MessageSelector{}, listen)
	for n := range requests {
		reply, err := asking.Request(context.Background(), within, s.message(fmt.Sprintf("request-%d", n)))
		must(err)
		check(string(reply.Body) == fmt.Sprintf("reply to request-%d", n), "%v", reply)
	}
	var called atomic.Int64
	replies := newInbox()
	for n := range requests {
		done := func(_ context.Context, reply *primitive.Message, err error) {
			called.Add(1)
			if err == nil {
				replies.put(&primitive.MessageExt{Message: primitive.Message{Body: reply.Body}})
			}
		}
		must(asking.RequestAsync(context.Background(), within, done, s.message(fmt.Sprintf("async-%d", n))))
	}
	var expected []string
	for n := range requests {
		expected = append(expected, fmt.Sprintf("reply to async-%d", n))
	}
	replies.awaitAll(expected)
	// The client calls back once for the reply, and once when it forgets the request.
	await(func() bool { return called.Load() == 2*requests }, func() string { return fmt.Sprintf("no gap any more: %d calls", called.Load()) })
	return fmt.Sprintf("%d requests answered, %d by a callback", requests, requests)
}

func (s *scenario) replier() rocketmq.Producer {
	replier := &scenario{name: s.name + "-replies", nameServer: s.nameServer}
	made := replier.producer()
	s.atEnd = append(s.atEnd, made.Shutdown)
	return made
}

// answer replies to a request. A producer is known to the broker from its first heartbeat on, a second after its start: replies to
// what it asks before are refused.
func answer(replying rocketmq.Producer, request *primitive.MessageExt) {
	text := "reply to " + string(request.Body)
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(lookEach) {
		reply, err := consumer.CreateReplyMessage(request, []byte(text))
		if err != nil {
			fmt.Println(err)
			return
		}
		// The client does not put it there; what it has for it is an empty one.
		reply.Body = []byte(text)
		if _, err := replying.SendSync(context.Background(), reply); err == nil {
			return
		}
	}
}
