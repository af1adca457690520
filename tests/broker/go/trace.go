package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const traces = "RMQ_SYS_TRACE_TOPIC"

// trace has a producer and a consumer that tell of their messages, and reads what they told.
func trace(s *scenario) string {
	plain := s.producer(producer.WithGroupName(s.group("plain")))
	s.fill(plain, 1)
	// The client does not make it.
	_, err := plain.SendSync(context.Background(), primitive.NewMessage(traces, []byte("-")))
	must(err)
	s.queuesOf(traces)
	traced := s.producer(producer.WithTrace(s.tracing()))
	got := newInbox()
	s.push("traced", s.topic(), consumer.MessageSelector{}, got.listen, consumer.WithTrace(s.tracing()))
	result, err := traced.SendSync(context.Background(), s.message("traced-0"))
	must(err)
	onlySync(s)
	told := newInbox()
	s.push("readers", traces, consumer.MessageSelector{}, told.listen)
	kinds := []string{"Pub", "SubBefore", "SubAfter"}
	missing := func() (missing []string) {
		for _, kind := range kinds {
			if !tells(told, kind, result.MsgID) {
				missing = append(missing, kind)
			}
		}
		return missing
	}
	await(func() bool { return len(missing()) == 0 }, func() string { return fmt.Sprintf("not told: %q", missing()) })
	return fmt.Sprintf("the message's %s were told", strings.Join(kinds, ", "))
}

// tells says whether one of the traces is of this kind and message: fields end with 1, records with 2.
func tells(told *inbox, kind, message string) bool {
	for _, text := range told.all() {
		for _, record := range strings.Split(text, "\x02") {
			if strings.HasPrefix(record, kind+"\x01") && strings.Contains(record, "\x01"+message+"\x01") {
				return true
			}
		}
	}
	return false
}

// onlySync shows that a producer with traces can do nothing but send and wait.
func onlySync(s *scenario) {
	traced := s.producer(producer.WithTrace(s.tracing()), producer.WithGroupName(s.group("async")))
	ignored := func(context.Context, *primitive.SendResult, error) {}
	err := traced.SendAsync(context.Background(), ignored, s.message("async-0"))
	check(err != nil && err.Error() == "ProducerCtx Not Exist", "no gap any more: %v", err)
	err = traced.SendOneWay(context.Background(), s.message("oneway-0"))
	check(err != nil && err.Error() == "ProducerCtx Not Exist", "no gap any more: %v", err)
}
