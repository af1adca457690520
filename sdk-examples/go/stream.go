package main

import (
	"context"
	"fmt"
	"os"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

const (
	sendEvery = 50 * time.Millisecond
	heldFor   = time.Second           // what is received is held so long before it is acknowledged
	leasedFor = 30 * time.Second      // how long a message may be consumed: no acknowledgement is tried later
	pause     = 50 * time.Millisecond // after a failure
	heldMax   = 1024
)

type heldMessage struct {
	*rmq.MessageView
	receivedAt time.Time
}

// stream sends and receives until it is stopped, and says when it could: kill servers under it and see.
//
// It sends one message after the other, every 50 ms if it can. What is received is acknowledged a second later, for as long as its handle
// is good. Each success is a line with the time, in milliseconds since 1970: "sent AT", "received AT", "acked RECEIVED_AT AT". Failures are
// on stderr.
func (e example) stream() error {
	topic := e.topic("stream")
	producer, consumer, stop, err := e.startBoth(topic)
	if err != nil {
		return err
	}
	defer stop()
	held := make(chan heldMessage, heldMax)
	go receiveAll(consumer, held)
	go acknowledgeAll(consumer, held)
	for due := time.NewTicker(sendEvery); ; <-due.C {
		if _, err := producer.Send(context.Background(), newMessage(topic, "hello")); err != nil {
			complain(err)
			continue
		}
		fmt.Println("sent", time.Now().UnixMilli())
	}
}

func receiveAll(consumer consumer, held chan<- heldMessage) {
	for {
		messages, err := consumer.Receive(context.Background(), 16, leasedFor)
		if err != nil {
			complain(err)
			continue
		}
		receivedAt := time.Now()
		if len(messages) > 0 {
			fmt.Println("received", receivedAt.UnixMilli())
		}
		for _, message := range messages {
			held <- heldMessage{message, receivedAt}
		}
	}
}

func acknowledgeAll(consumer consumer, held chan heldMessage) {
	for message := range held {
		time.Sleep(heldFor - time.Since(message.receivedAt))
		err := consumer.Ack(context.Background(), message.MessageView)
		if err == nil {
			fmt.Println("acked", message.receivedAt.UnixMilli(), time.Now().UnixMilli())
			continue
		}
		complain(err)
		if time.Since(message.receivedAt) < leasedFor {
			select {
			case held <- message:
			default: // there are too many: it comes again
			}
		}
	}
}

func complain(err error) {
	fmt.Fprintln(os.Stderr, time.Now().UnixMilli(), err)
	time.Sleep(pause)
}
