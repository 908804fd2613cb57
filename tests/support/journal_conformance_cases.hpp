#pragma once

#include "support/journal_conformance.hpp"

namespace eventcore::test {

/// What a case of the suite is given: a journal of its own.
struct case_setup {
  eventcore::durability durability;
  make_journal_factory make_factory;
  std::shared_ptr<journal_factory> factory;

  bool persistent() const { return factory->persistent(); }

  journal_options options() const {
    journal_options options;
    options.durability = durability;
    return options;
  }
  std::unique_ptr<journal> open() const { return factory->open(options()); }
  std::unique_ptr<journal> open(const journal_options& options) const { return factory->open(options); }
  std::unique_ptr<journal> open_stepped() const {
    auto stepped = options();
    stepped.writer = writer_mode::stepped;
    return factory->open(stepped);
  }
};

/// Random commits, steps and reopenings against a model made of maps (journal_model.cpp).
void a_journal_is_like_its_model(const case_setup& setup);

// The newest events in memory, and feeds (tail_conformance.cpp).
void new_events_are_in_memory_for_keepers(const case_setup& setup);
void what_is_in_memory_is_durable(const case_setup& setup);
void the_memory_of_the_tail_is_bounded(const case_setup& setup);
void a_feed_tells_when_there_is_more(const case_setup& setup);
void a_feed_that_starts_in_memory_reads_to_the_end(const case_setup& setup);
void a_feed_beside_writers_sees_all_in_order(const case_setup& setup);
void a_feed_is_like_the_log(const case_setup& setup);

// Durable timers (timer_conformance.cpp).
void timers_are_read_in_order(const case_setup& setup);
void timers_are_moved_and_cancelled(const case_setup& setup);
void timers_go_with_their_commit_or_not_at_all(const case_setup& setup);
void invalid_timers_are_refused(const case_setup& setup);
void a_commit_of_too_many_timers_is_refused(const case_setup& setup);
void followers_of_timers_hear_the_earliest(const case_setup& setup);
void timers_of_a_writing_thread_become_durable(const case_setup& setup);
void timers_are_like_a_set(const case_setup& setup);

} // namespace eventcore::test
