package main

import (
	"context"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// decider knows what becomes of a transaction by its message, and notes those that it is asked about.
type decider struct {
	asked *inbox
}

func (d decider) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch string(message.Body) {
	case "committed-0":
		return primitive.CommitMessageState
	case "rolledback-0":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (d decider) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	d.asked.put(message)
	if string(message.Body) == "unknown-0" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

// transaction commits at once, rolls back, and decides when the broker asks.
func transaction(s *scenario) string {
	s.fill(s.producer(), 1)
	got, asked := newInbox(), newInbox()
	s.push("readers", s.topic(), consumer.MessageSelector{}, got.listen)
	sender, err := rocketmq.NewTransactionProducer(decider{asked}, s.producerOptions()...)
	must(err)
	must(sender.Start())
	s.atEnd = append(s.atEnd, sender.Shutdown)
	for _, text := range []string{"committed-0", "rolledback-0", "unknown-0"} {
		result, err := sender.SendMessageInTransaction(context.Background(), s.message(text))
		must(err)
		check(result.Status == primitive.SendOK, "%v", result)
	}
	got.awaitAll([]string{"committed-0", "unknown-0"})
	check(asked.times("unknown-0") > 0, "it came, and nobody asked for it")
	check(got.times("rolledback-0") == 0, "what was rolled back came")
	return "committed at once, committed when asked, and the one that was rolled back did not come"
}
