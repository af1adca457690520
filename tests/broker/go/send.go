package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// bornLate is how much before its due time a delayed message may come: levels are served by a clock that ticks.
const bornLate = time.Second

// send sends in the three ways, with a tag, keys and a property.
func send(s *scenario) string {
	sender := s.producer()
	var sent []string
	next := func(way string, n int) *primitive.Message {
		text := fmt.Sprintf("%s-%d", way, n)
		sent = append(sent, text)
		message := s.message(text)
		message.WithProperty("way", way)
		return message
	}
	for n := range count {
		result, err := sender.SendSync(context.Background(), next("sync", n))
		must(err)
		check(result.Status == primitive.SendOK && len(result.OffsetMsgID) == 32, "%v", result)
	}
	failed := make(chan error, count)
	for n := range count {
		done := func(_ context.Context, _ *primitive.SendResult, err error) { failed <- err }
		must(sender.SendAsync(context.Background(), done, next("async", n)))
	}
	for range count {
		must(<-failed)
	}
	for n := range count {
		must(sender.SendOneWay(context.Background(), next("oneway", n)))
	}
	got := newInbox()
	s.push("readers", s.topic(), consumer.MessageSelector{}, got.listen)
	got.awaitAll(sent)
	for _, text := range sent {
		found := got.first(text)
		expected := s.message(text)
		check(found.GetKeys() == text && found.GetTags() == expected.GetTags(), "%v", found)
		check(found.GetProperty("way") == text[:strings.IndexByte(text, '-')] && found.Topic == s.topic(), "%v", found)
		check(found.MsgId == found.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex), "%v", found)
	}
	return fmt.Sprintf("%d messages: sync, async and oneway, with tag, keys and property", len(sent))
}

// batch sends many messages in one request. The client gives them no ids of their own: theirs are those of their places.
func batch(s *scenario) string {
	sender := s.producer()
	var sent []string
	var messages []*primitive.Message
	for n := range count {
		sent = append(sent, fmt.Sprintf("batch-%d", n))
		messages = append(messages, s.message(sent[n]))
	}
	result, err := sender.SendSync(context.Background(), messages...)
	must(err)
	ids := strings.Split(result.OffsetMsgID, ",")
	check(result.Status == primitive.SendOK && len(ids) == count, "%v", result)
	check(result.MsgID == "", "no gap any more: %v", result)
	got := newInbox()
	s.push("readers", s.topic(), consumer.MessageSelector{}, got.listen)
	got.awaitAll(sent)
	for n, text := range sent {
		found := got.first(text)
		check(found.Queue.QueueId == result.MessageQueue.QueueId, "%v", found)
		check(found.QueueOffset == result.QueueOffset+int64(n), "%v", found)
		check(found.OffsetMsgId == ids[n], "%v, not %s", found, ids[n])
	}
	return fmt.Sprintf("%d messages in one request, in their order, at the ids of the answer", count)
}

// selectors sends to the queue that the message names, and to that of its sharding key.
func selectors(s *scenario) string {
	byHand := s.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	s.fill(s.producer(), 1)
	for _, queue := range s.queuesOf(s.topic()) {
		message := s.message(fmt.Sprintf("queue-%d", queue.QueueId))
		message.Queue = queue
		result, err := byHand.SendSync(context.Background(), message)
		must(err)
		check(*result.MessageQueue == *queue, "%v, not %v", result, queue)
	}
	byKey := s.producer(producer.WithGroupName(s.group("keys")),
		producer.WithQueueSelector(producer.NewHashQueueSelector()))
	places := map[string][]int{}
	for n := range count {
		key := fmt.Sprintf("key-%d", n%queues)
		result, err := byKey.SendSync(context.Background(), s.message(fmt.Sprintf("keyed-%d", n)).WithShardingKey(key))
		must(err)
		if !slices.Contains(places[key], result.MessageQueue.QueueId) {
			places[key] = append(places[key], result.MessageQueue.QueueId)
		}
	}
	for key, of := range places {
		check(len(of) == 1, "%s is in queues %v", key, of)
	}
	return fmt.Sprintf("each of %d queues by hand, one queue a sharding key", queues)
}

// delay sends a message that waits for 5 s.
func delay(s *scenario) string {
	const level, waits = 2, 5 * time.Second
	sender := s.producer()
	s.fill(sender, 1)
	got := newInbox()
	s.push("readers", s.topic(), consumer.MessageSelector{}, got.listen)
	began := time.Now()
	_, err := sender.SendSync(context.Background(), s.message("delayed-0").WithDelayTimeLevel(level))
	must(err)
	got.awaitAll([]string{"delayed-0"})
	check(time.Since(began) >= waits-bornLate, "it came after %v", time.Since(began))
	return fmt.Sprintf("level %d came, not before %v", level, waits)
}
