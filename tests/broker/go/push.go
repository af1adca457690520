package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// clustering has two members that share the queues; what each has done the other need not do.
func clustering(s *scenario) string {
	sender := s.producer()
	s.fill(sender, 1)
	one, two := newInbox(), newInbox()
	first := s.push("members", s.topic(), consumer.MessageSelector{}, one.listen)
	s.push("members", s.topic(), consumer.MessageSelector{}, two.listen)
	// Until both have queues.
	await(func() bool {
		sent := s.fill(sender, queues)
		return anyOf(one, sent) && anyOf(two, sent)
	}, func() string { return fmt.Sprintf("%d and %d came", len(one.all()), len(two.all())) })
	sent := s.fill(sender, 4*count)
	awaitBoth(one, two, sent)
	must(first.Shutdown())
	awaitBoth(two, newInbox(), s.fill(sender, 4*count))
	return fmt.Sprintf("two members shared %d messages; one left, and the other had the next %d", 4*count, 4*count)
}

func anyOf(got *inbox, texts []string) bool {
	for _, text := range texts {
		if got.times(text) > 0 {
			return true
		}
	}
	return false
}

func awaitBoth(one, two *inbox, texts []string) {
	missing := func() (missing int) {
		for _, text := range texts {
			if one.times(text)+two.times(text) == 0 {
				missing++
			}
		}
		return missing
	}
	await(func() bool { return missing() == 0 }, func() string { return fmt.Sprintf("%d have not come", missing()) })
}

// broadcasting has two members that get everything.
func broadcasting(s *scenario) string {
	sender := s.producer()
	s.fill(sender, 1)
	one, two := newInbox(), newInbox()
	for _, got := range []*inbox{one, two} {
		s.push("members", s.topic(), consumer.MessageSelector{}, got.listen, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	sent := s.fill(sender, count)
	one.awaitAll(sent)
	two.awaitAll(sent)
	return fmt.Sprintf("each of two members had all %d messages", count)
}

// orderly consumes each queue in its order. One member: the client does not give its lock back when a queue moves to another, which
// waits for a minute then.
func orderly(s *scenario) string {
	const keys = 3
	sender := s.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	s.fill(sender, 1)
	var lock sync.Mutex
	next, wrong := map[int]int64{}, []string{}
	got := newInbox()
	listen := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		for _, message := range messages {
			if expected, known := next[message.Queue.QueueId]; known && message.QueueOffset != expected {
				wrong = append(wrong, message.String())
			}
			next[message.Queue.QueueId] = message.QueueOffset + 1
			got.put(message)
		}
		return consumer.ConsumeSuccess, nil
	}
	s.push("members", s.topic(), consumer.MessageSelector{}, listen, consumer.WithConsumerOrder(true))
	var sent []string
	for n := range 4 * count {
		sent = append(sent, fmt.Sprintf("ordered-%d", n))
		message := s.message(sent[n]).WithShardingKey(fmt.Sprintf("key-%d", n%keys))
		_, err := sender.SendSync(context.Background(), message)
		must(err)
	}
	got.awaitAll(sent)
	lock.Lock()
	defer lock.Unlock()
	check(len(wrong) == 0, "out of order: %q", wrong)
	return fmt.Sprintf("%d messages of %d keys in order", len(sent), keys)
}

// later refuses each message twice; it comes again, as itself.
func later(s *scenario) string {
	const refusals, kept = 2, 8
	sender := s.producer()
	s.fill(sender, 1)
	s.known("members")
	var lock sync.Mutex
	var wrong []string
	got := newInbox()
	listen := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		for _, message := range messages {
			times := got.put(message)
			if int(message.ReconsumeTimes) != times-1 || message.Topic != s.topic() {
				wrong = append(wrong, message.String())
			}
			if times <= refusals {
				if of, known := primitive.GetConcurrentlyCtx(ctx); known {
					of.DelayLevelWhenNextConsume = 1
				}
				return consumer.ConsumeRetryLater, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	}
	s.push("members", s.topic(), consumer.MessageSelector{}, listen)
	sent := s.fill(sender, kept)
	await(func() bool {
		for _, text := range sent {
			if got.times(text) != refusals+1 {
				return false
			}
		}
		return true
	}, func() string {
		return fmt.Sprintf("%d have come, the first %d times", len(got.all()), got.times(sent[0]))
	})
	lock.Lock()
	defer lock.Unlock()
	check(len(wrong) == 0, "%q", wrong)
	return fmt.Sprintf("%d messages refused twice came as attempts 1 to 3 of their own topic", kept)
}

// deadLetter refuses a message in both of its attempts.
func deadLetter(s *scenario) string {
	const retries = 1
	sender := s.producer()
	s.fill(sender, 1)
	s.known("members")
	got := newInbox()
	listen := func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			got.put(message)
		}
		if of, known := primitive.GetConcurrentlyCtx(ctx); known {
			of.DelayLevelWhenNextConsume = 1
		}
		return consumer.ConsumeRetryLater, nil
	}
	s.push("members", s.topic(), consumer.MessageSelector{}, listen, consumer.WithMaxReconsumeTimes(retries))
	sent := s.fill(sender, 1)
	dead := newInbox()
	s.push("undertakers", "%DLQ%"+s.group("members"), consumer.MessageSelector{}, dead.listen)
	dead.awaitAll(sent)
	check(got.times(sent[0]) == retries+1, "%d attempts", got.times(sent[0]))
	return fmt.Sprintf("refused in both of %d attempts: among the dead letters", retries+1)
}

// filter subscribes to a tag, and by SQL92. A last message that both want in each queue says that nothing else comes before it.
func filter(s *scenario) string {
	sender := s.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	s.fill(s.producer(), 1)
	places := s.queuesOf(s.topic())
	byTag, bySQL := newInbox(), newInbox()
	inOrder := consumer.WithConsumeGoroutineNums(1)
	s.push("tag", s.topic(), consumer.MessageSelector{Type: consumer.TAG, Expression: "even || last"}, byTag.listen, inOrder)
	expression := "TAGS = 'last' OR (number > 10 AND number < 20)"
	s.push("sql", s.topic(), consumer.MessageSelector{Type: consumer.SQL92, Expression: expression}, bySQL.listen, inOrder)
	var evens, some, lasts []string
	put := func(text string, place *primitive.MessageQueue, change func(*primitive.Message)) {
		message := s.message(text)
		message.Queue = place
		change(message)
		_, err := sender.SendSync(context.Background(), message)
		must(err)
	}
	for n := range count {
		text := fmt.Sprintf("number-%d", n)
		if n%2 == 0 {
			evens = append(evens, text)
		}
		if 10 < n && n < 20 {
			some = append(some, text)
		}
		put(text, places[n%len(places)], func(m *primitive.Message) { m.WithProperty("number", fmt.Sprint(n)) })
	}
	for n, place := range places {
		lasts = append(lasts, fmt.Sprintf("last-%d", n))
		put(lasts[n], place, func(m *primitive.Message) { m.WithTag("last") })
	}
	byTag.awaitAll(append(evens, lasts...))
	bySQL.awaitAll(append(some, lasts...))
	for n := range count {
		text := fmt.Sprintf("number-%d", n)
		check(byTag.times(text) == 0 || n%2 == 0, "by tag came %s", text)
		check(bySQL.times(text) == 0 || (10 < n && n < 20), "by SQL came %s", text)
	}
	return fmt.Sprintf("%d of %d by tag, %d by SQL92", len(evens), count, len(some))
}
