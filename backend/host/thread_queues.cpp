#include "backend/host/thread_queues.hpp"

#include <algorithm>
#include <utility>

namespace zebroid {

ThreadQueues::ThreadQueues(std::uint32_t events, Work work, Trouble& trouble)
    : work_(std::move(work)),
      trouble_(trouble),
      happened_(events, 0),
      begun_(events, 0),
      times_(events) {}

ThreadQueues::~ThreadQueues() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

void ThreadQueues::wait(Stream stream, Event event) {
  queue(stream).commands.push_back({Command::What::wait, event});
}
void ThreadQueues::record(Stream stream, Event event) {
  queue(stream).commands.push_back({Command::What::record, event});
}
void ThreadQueues::run(Stream stream, std::uint32_t op) {
  queue(stream).commands.push_back({Command::What::run, op});
}

void ThreadQueues::drop(std::uint32_t op) {
  for (Queue& queue : queues_) {
    for (Command& command : queue.commands) {
      const bool is_op = command.what == Command::What::run && command.number == op;
      if (is_op) command.what = Command::What::lose;
    }
    std::erase_if(queue.commands, [op](const Command& command) {
      return command.what == Command::What::record && command.number == ended(op);
    });
  }
}

void ThreadQueues::start() {
  for (Queue& queue : queues_) {
    if (queue.commands.empty()) continue;
    threads_.emplace_back([this, &queue](const std::stop_token& quit) {
      const std::stop_callback wake(quit, [this] {
        const std::scoped_lock lock(mutex_);
        changed_.notify_all();
      });
      for (;;) {
        {
          std::unique_lock lock(mutex_);
          const bool begun = changed_.wait(lock, trouble_.token(), [&] {
            return quit.stop_requested() || queue.iteration < iteration_;
          });
          if (!begun || quit.stop_requested()) return;
        }
        serve(queue);
        if (queue.dead) return;
      }
    });
  }
}

void ThreadQueues::serve(Queue& queue) {
  bool died = false;
  try {
    run_iteration(queue);
  } catch (const Stopped&) {
    died = true;
  }
  const std::scoped_lock lock(mutex_);
  queue.dead = died;
  queue.what = died ? State::What::dead : State::What::done;
  queue.iteration = iteration_;
  changed_.notify_all();
}

void ThreadQueues::run_iteration(Queue& queue) {
  std::unique_lock lock(mutex_);
  for (queue.next = 0; queue.next < queue.commands.size(); ++queue.next) {
    const Command command = queue.commands[queue.next];
    queue.since = Clock::now();
    switch (command.what) {
      case Command::What::wait:
        queue.what = State::What::waiting;
        if (!changed_.wait(lock, trouble_.token(),
                           [&] { return happened_[command.number] != 0; })) {
          throw Stopped{};
        }
        break;
      case Command::What::record:
        happened_[command.number] = 1;
        ++events_;
        ops_ended_ += command.number == ended(command.number / 2) ? 1 : 0;
        times_[command.number] = queue.since;
        changed_.notify_all();
        break;
      case Command::What::lose:
        begin_op(queue, command.number);
        break;
      case Command::What::run:
        if (trouble_.stopped()) throw Stopped{};
        queue.what = State::What::running;
        begin_op(queue, command.number);
        if (happened_[launched(command.number)] == 0) {
          times_[launched(command.number)] = queue.since;
        }
        lock.unlock();
        work_(command.number);
        lock.lock();
        break;
    }
  }
  queue.what = State::What::done;  // while nobody looks
}

void ThreadQueues::begin_op(Queue& queue, std::uint32_t op) {
  begun_[ended(op)] = 1;
  ++queue.begun;
}

void ThreadQueues::begin() {
  const std::scoped_lock lock(mutex_);
  std::fill(happened_.begin(), happened_.end(), 0);
  std::fill(begun_.begin(), begun_.end(), 0);
  events_ = ops_ended_ = 0;
  for (Queue& queue : queues_) {
    if (queue.commands.empty()) continue;
    queue.begun = 0;
    queue.what = State::What::starting;
  }
  ++iteration_;
  changed_.notify_all();
}

std::vector<ThreadQueues::Clock::time_point> ThreadQueues::times() const {
  const std::scoped_lock lock(mutex_);
  return times_;
}

bool ThreadQueues::all_ended() const {
  return std::all_of(queues_.begin(), queues_.end(), [&](const Queue& queue) {
    return queue.commands.empty() || (queue.iteration == iteration_ && !queue.dead);
  });
}

bool ThreadQueues::finish(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, trouble_.token(), most, [this] { return all_ended(); });
}

ThreadQueues::State ThreadQueues::state_of(Stream stream, const Queue& queue) {
  State out{.stream = stream, .what = queue.what, .begun = queue.begun, .since = queue.since};
  if (queue.what == State::What::done || queue.what == State::What::starting) return out;
  for (std::size_t i = queue.next; i < queue.commands.size(); ++i) {
    const Command& command = queue.commands[i];
    if (i == queue.next && command.what == Command::What::wait) out.event = command.number;
    if (command.what == Command::What::run) {
      out.op = command.number;
      break;
    }
  }
  return out;
}

bool ThreadQueues::rests() const {
  const std::scoped_lock lock(mutex_);
  return std::none_of(queues_.begin(), queues_.end(),
                      [](const Queue& queue) { return queue.what == State::What::running; });
}

ThreadQueues::Snapshot ThreadQueues::snapshot(Detail detail) const {
  const std::scoped_lock lock(mutex_);
  Snapshot out;
  out.events = events_;
  out.ops_ended = ops_ended_;
  for (std::size_t s = 0; s < queues_.size(); ++s) {
    if (queues_.at(s).commands.empty()) continue;
    out.streams.push_back(state_of(static_cast<Stream>(s), queues_.at(s)));
    out.ops_begun += queues_.at(s).begun;
  }
  if (detail == Detail::counts) return out;
  out.happened = happened_;
  out.begun = begun_;
  return out;
}

}  // namespace zebroid
