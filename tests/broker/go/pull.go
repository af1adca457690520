package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const (
	pulled   = 32                     // messages of one pull
	pollEach = 500 * time.Millisecond // longest wait of one poll
)

func (s *scenario) puller(group, topic string) rocketmq.PullConsumer {
	s.queuesOf(topic)
	made, err := rocketmq.NewPullConsumer(
		consumer.WithNsResolver(s.resolver()),
		consumer.WithGroupName(s.group(group)),
		consumer.WithInstance(instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		// 0 by default: what is refused once is a dead letter then.
		consumer.WithMaxReconsumeTimes(attempts),
	)
	must(err)
	must(made.Subscribe(topic, consumer.MessageSelector{}))
	must(made.Start())
	s.atEnd = append(s.atEnd, made.Shutdown)
	return made
}

// pull goes through the queues itself, commits, and pulls from where its group is.
func pull(s *scenario) string {
	sent := s.fill(s.producer(), count)
	places := s.queuesOf(s.topic())
	reader, got := s.puller("readers", s.topic()), newInbox()
	lasts := map[int]int64{}
	for _, queue := range places {
		end := readAll(reader, queue, got.put)
		beyond, err := reader.PullFrom(context.Background(), queue, end+9, pulled)
		must(err)
		check(beyond.Status == primitive.PullOffsetIllegal && beyond.NextBeginOffset == end, "%+v", beyond)
		lasts[queue.QueueId] = end - 1
	}
	got.awaitAll(sent)
	awaitQueues(reader, len(places))
	for _, queue := range places {
		must(reader.UpdateOffset(queue, lasts[queue.QueueId]))
	}
	must(reader.PersistOffset(context.Background(), s.topic()))
	// Each asks the broker where the group is in one of the queues.
	at := map[int]int64{}
	await(func() bool {
		result, err := reader.Pull(context.Background(), pulled)
		must(err)
		if found := result.GetMessageExts(); len(found) > 0 {
			at[found[0].Queue.QueueId] = found[0].QueueOffset
		}
		return maps.Equal(at, lasts)
	}, func() string { return fmt.Sprintf("the group is at %v, committed was %v", at, lasts) })
	return fmt.Sprintf("%d messages by queue and offset, an offset beyond the end refused; on from what was committed", count)
}

// awaitQueues waits until the consumer has messages of so many queues: it commits for those only that it was given.
func awaitQueues(reader rocketmq.PullConsumer, wanted int) {
	given := map[int]bool{}
	await(func() bool {
		request, err := reader.Poll(context.Background(), pollEach)
		if err == nil {
			given[request.GetMQ().QueueId] = true
		}
		return len(given) == wanted
	}, func() string { return fmt.Sprintf("it has %d of %d queues", len(given), wanted) })
}

// readAll puts away all messages of a queue, and says where it ends.
func readAll(reader rocketmq.PullConsumer, queue *primitive.MessageQueue, put func(*primitive.MessageExt) int) int64 {
	for offset := int64(0); ; {
		result, err := reader.PullFrom(context.Background(), queue, offset, pulled)
		must(err)
		check(result.Status == primitive.PullFound, "%v: %+v", queue, result)
		for _, message := range result.GetMessageExts() {
			put(message)
		}
		offset = result.NextBeginOffset
		if offset >= result.MaxOffset {
			return offset
		}
	}
}

// poll lets the client pull, and acknowledges; what it refuses first comes again, under the retry topic's name.
func poll(s *scenario) string {
	sender := s.producer()
	s.fill(sender, 1)
	s.known("readers")
	reader := s.puller("readers", s.topic())
	sent := s.fill(sender, count)
	got := newInbox()
	refused := ""
	await(func() bool {
		request, err := reader.Poll(context.Background(), pollEach)
		if !consumer.IsNoNewMsgError(err) {
			must(err)
			result := consumer.ConsumeSuccess
			for _, message := range request.GetMsgList() {
				if got.put(message); refused == "" || string(message.Body) == refused && got.times(refused) == 1 {
					refused, result = string(message.Body), consumer.ConsumeRetryLater
				}
			}
			reader.ACK(context.Background(), request, result)
		}
		return refused != "" && got.times(refused) > 1
	}, func() string { return fmt.Sprintf("%d came, %q %d times", len(got.all()), refused, got.times(refused)) })
	got.awaitAll(sent)
	second := got.messages[refused][1]
	check(second.ReconsumeTimes == 1, "%v", second)
	check(second.Topic == "%RETRY%"+s.group("readers"), "no gap any more: %v", second)
	return fmt.Sprintf("%d messages polled and acknowledged; refused ones came again", count)
}
