package main

import (
	"context"
	"fmt"
	"os"
	"strings"
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
// is good. Each success is a line with the time, in milliseconds since 1970, and the messages' bodies, no two of which are the same: "sent AT
// BODY", "received AT BODY…", "acked RECEIVED_AT AT BODY". Failures are on stderr.
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
	began, due := time.Now().UnixMilli(), time.NewTicker(sendEvery)
	for number := 0; ; number++ {
		body := fmt.Sprintf("%d-%d", began, number)
		if _, err := producer.Send(context.Background(), newMessage(topic, body)); err != nil {
			complain(err)
		} else {
			fmt.Println("sent", time.Now().UnixMilli(), body)
		}
		<-due.C
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
			bodies := make([]string, len(messages))
			for i, message := range messages {
				bodies[i] = string(message.GetBody())
			}
			fmt.Println("received", receivedAt.UnixMilli(), strings.Join(bodies, " "))
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
			fmt.Println("acked", message.receivedAt.UnixMilli(), time.Now().UnixMilli(), string(message.GetBody()))
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
