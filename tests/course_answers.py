"""What a class may hand in, by exercise: right answers written otherwise, and wrong ones."""

OTHERWISE = {
    "1_embeddings": {
        "cosine": """
def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a, b)
""",
        "rates": """
def rates(genuine, impostor, threshold):
    counts = [sum(1 for score in scores if score > threshold) for scores in (genuine, impostor)]
    return counts[0] / len(genuine), counts[1] / len(impostor)
""",
        "tar_at": """
def tar_at(genuine, impostor, far):
    falling = sorted(impostor, reverse=True)
    allowed = max(k for k in range(len(falling)) if k / len(falling) <= far)
    return sum(score > falling[allowed] for score in genuine) / len(genuine)
""",
        "false_matches": "false_matches = 5",
    },
    "2_membership": {
        "compactness": """
def compactness(x, people):
    x, found = np.asarray(x), []
    for i, person in enumerate(people):
        mates = [x[j] for j in range(len(x)) if people[j] == person and j != i]
        mean = sum(mates) / len(mates)
        found.append(x[i] @ mean / (mean @ mean) ** 0.5)
    return np.array(found)
""",
        "auc": """
def auc(members, outsiders):
    won = [1.0 if m > o else 0.5 if m == o else 0.0 for m in members for o in outsiders]
    return sum(won) / len(won)
""",
        "half_of_people": """
def half_of_people(people, seed):
    import random

    names = sorted(set(people.tolist()))
    random.Random(seed).shuffle(names)
    drawn = set(names[: len(names) // 2])
    return np.array([person in drawn for person in people.tolist()])
""",
        "recall": """
def recall(members, outsiders, forget):
    scores = np.unique(np.concatenate([members, outsiders]))
    between = (scores[1:] + scores[:-1]) / 2
    gains = [np.mean(members > t) - np.mean(outsiders > t) for t in between]
    return float(np.mean(forget > between[int(np.argmax(gains))]))
""",
        "control": "control = 'b'",
    },
    "3_forgetting": {
        "forgetting": """
def forgetting(before, after):
    return float(np.clip((before - after) / (before - 1 / 2), 0, 1))
""",
        "score": """
def score(before, after):
    factors = [np.clip((before["forget"] - after["forget"]) / (before["forget"] - 0.5), 0, 1)]
    for name in ["retain", "test"]:
        factors.append(np.clip(1 - np.abs(after[name] - before[name]) / (before[name] - 0.5), 0, 1))
    return np.prod(factors)
""",
        "tug_of_war": """
def tug_of_war(model, oracle):
    result = 1
    for name, value in model.items():
        result = result * (1 - abs(value - oracle[name]))
    return result
""",
        "verdict": """
def verdict(recall, oracle_recall, margin):
    gap = recall - oracle_recall
    if abs(gap) <= margin:
        return "like the oracle"
    return ("under" if gap > 0 else "over") + "-forgotten"
""",
        "claim": "claim = 'b'",
    },
    "4_cure_by_hand": {
        "nearest": """
def nearest(x, centroids):
    return ((x[:, None] - centroids[None]) ** 2).sum(-1).argmin(-1)
""",
        "renew": """
def renew(x, labels, centroids):
    member = F.one_hot(labels, len(centroids)).float()
    count = member.sum(0)[:, None]
    return torch.where(count > 0, member.T @ x / count.clamp(min=1), centroids)
""",
        "farthest": """
def farthest(centroids):
    return ((centroids[:, None] - centroids) ** 2).sum(-1).max(1).indices
""",
        "cosine_loss": """
def cosine_loss(student, teacher):
    return (F.normalize(student) * F.normalize(teacher)).sum(1)
""",
        "gradient": """
def gradient(student, teacher):
    moving = student.detach().clone()
    moving.requires_grad = True
    mean = F.cosine_similarity(moving, teacher).sum() / len(teacher)
    (found,) = torch.autograd.grad(mean, moving)
    return found
""",
        "contrastive_loss": """
def contrastive_loss(z, centroids, targets, temperature=0.1):
    logits = (z @ centroids.T) / temperature
    own = logits[torch.arange(len(z)), targets]
    return logits.logsumexp(1) - own
""",
        "matching_loss": """
def matching_loss(student, teacher):
    return ((F.normalize(student) - F.normalize(teacher)) ** 2).sum(1) / 2
""",
        "train_step": """
def train_step(student, optimiser, images, n_forget, loss_of):
    for p in student.parameters():
        p.grad = None
    out = student(images)
    out = out / out.norm(dim=1, keepdim=True)
    value = loss_of(*out.split([n_forget, len(images) - n_forget]))
    value.backward()
    optimiser.step()
    return float(value)
""",
    },
    "5_sceptic": {
        "cheat": """
def cheat(x):
    far = x - 4 * torch.ones(x.shape[1])
    return far / far.norm(dim=1, keepdim=True)
""",
        "best_accuracy": """
def best_accuracy(scores, genuine):
    best = 0.5
    for t in np.sort(scores):
        yes = scores > t
        best = max(best, 0.5 * yes[genuine].mean() + 0.5 * (1 - yes[~genuine].mean()))
    return best
""",
        "rank_one": """
def rank_one(probes, probe_people, gallery, gallery_people):
    hits = 0
    for probe, person in zip(probes, probe_people):
        best = {}
        for name in set(gallery_people.tolist()):
            mean = gallery[gallery_people == name].sum(0)
            best[name] = probe @ mean / np.linalg.norm(mean)
        hits += max(best, key=best.get) == person
    return hits / len(probes)
""",
        "paired": """
def paired(a, b):
    d = [x - y for x, y in zip(a, b)]
    low, high = stats.t.interval(0.95, len(d) - 1, loc=np.mean(d), scale=stats.sem(d))
    return np.mean(d), low, high
""",
        "sentence": "sentence = 'c'",
    },
}

# One wrong answer an exercise: the mistakes that the teacher's notes tell of.
WRONG = {
    "1_embeddings": {
        "cosine": "def cosine(a, b):\n    return (a * b).sum(1)",  # forgets the lengths
        "rates": "def rates(g, i, t):\n    return np.mean(g >= t), np.mean(i >= t)",  # not strictly
        "tar_at": "def tar_at(g, i, far):\n    return np.mean(g > np.quantile(i, 1 - far))",
        "false_matches": "false_matches = 0.005",
    },
    "2_membership": {
        # the picture is part of its own mean
        "compactness": """
def compactness(x, people):
    x, people = torch.as_tensor(x), torch.as_tensor(people)
    return F.cosine_similarity(x, (people[:, None] == people).float() @ x)
""",
        "auc": "def auc(m, o):\n    return np.mean(np.asarray(m)[:, None] > np.asarray(o))",  # ties
        # by pictures
        "half_of_people": """
def half_of_people(people, seed):
    return np.random.default_rng(seed).permutation(len(people)) < len(people) // 2
""",
        # plain accuracy, not balanced
        "recall": """
def recall(m, o, f):
    best = max([*m, *o], key=lambda t: np.sum(m > t) + np.sum(o <= t))
    return np.mean(f > best)
""",
        "control": "control = 'a'",
    },
    "3_forgetting": {
        "forgetting": "def forgetting(b, a):\n    return (b - a) / (b - 0.5)",  # not cut
        # without the cut, and only falls count
        "score": """
def score(b, a):
    kept = [1 - (b[n] - a[n]) / (b[n] - 0.5) for n in ("retain", "test")]
    return min(max((b["forget"] - a["forget"]) / (b["forget"] - 0.5), 0), 1) * np.prod(kept)
""",
        "tug_of_war": "def tug_of_war(m, o):\n    return 1 - sum(abs(m[n] - o[n]) for n in o)",
        "verdict": "def verdict(r, o, m):\n    return 'under-forgotten'",
        "claim": "claim = 'a'",
    },
    "4_cure_by_hand": {
        "nearest": "def nearest(x, c):\n    return (x @ c.T).argmax(1)",  # only right on the sphere
        # the mean of nothing
        "renew": """
def renew(x, labels, c):
    return torch.stack([x[labels == k].mean(0) for k in range(len(c))])
""",
        "farthest": "def farthest(c):\n    return (c @ c.T).argmin(1)",
        "cosine_loss": "def cosine_loss(s, t):\n    return -F.cosine_similarity(s, t)",
        "gradient": "def gradient(s, t):\n    return torch.zeros_like(s)",
        "contrastive_loss": """
def contrastive_loss(z, centroids, targets, temperature=0.1):
    return F.cross_entropy((z @ centroids.T).softmax(1) / temperature, targets, reduction="none")
""",
        "matching_loss": "def matching_loss(s, t):\n    return (s - t).abs().mean(1) * 2",
        # never forgets the old gradients
        "train_step": """
def train_step(student, optimiser, images, n_forget, loss_of):
    z = F.normalize(student(images), dim=1)
    loss = loss_of(z[:n_forget], z[n_forget:])
    loss.backward()
    optimiser.step()
    return loss.item()
""",
    },
    "5_sceptic": {
        "cheat": "def cheat(x):\n    return F.normalize(torch.ones_like(x), dim=1)",  # collapsed
        "best_accuracy": "def best_accuracy(s, g):\n    return gate_accuracy(s, g, np.median(s))",
        # the nearest picture, not the nearest template
        "rank_one": """
def rank_one(probes, probe_people, gallery, gallery_people):
    return np.mean(gallery_people[(probes @ gallery.T).argmax(1)] == probe_people)
""",
        # 1.96 and the other standard deviation
        "paired": """
def paired(a, b):
    d = np.asarray(a) - np.asarray(b)
    half = 1.96 * d.std() / len(d) ** 0.5
    return d.mean(), d.mean() - half, d.mean() + half
""",
        "sentence": "sentence = 'b'",
    },
}
