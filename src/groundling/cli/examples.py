"""Examples of every verb, as its `--help` shows them; a test parses each."""

GROUND = (
    'groundling ground photo.jpg "the woman in front of the bench"',
    'groundling ground photo.jpg "the cat" "the grey bench" --out boxes.png',
    'groundling ground photo.jpg "the cat" --budget 0.4 --json',
    'groundling ground photos/*.jpg "the cat" --out boxes/',
    "groundling ground photos/ --expressions words.txt --out cats.jsonl",
    'groundling ground clip.mp4 "the cat" --every 25 --out boxes.mp4',
)
DETECT = (
    'groundling detect photo.jpg woman bench "brown cat"',
    "groundling detect photo.jpg --model models/detr --threshold 0.5 --out objects.png",
    "groundling detect photos/ --names names.txt --out objects.jsonl",
)
PHRASES = (
    'groundling phrases photo.jpg "A woman wearing orange near a bench." --out phrases.png',
    'groundling phrases photo.jpg "two dogs and a ball" --model models/mdetr --json',
)
ANSWER = (
    'groundling answer photo.jpg "Is there a bench?"',
    'groundling answer photo.jpg "What colour is the dog?" --out answer.png',
    'groundling answer photos/ "Is there a bench?" --out answers.jsonl',
)
SEGMENT = (
    'groundling segment photo.jpg "the cat" --out mask.png',
    'groundling segment photo.jpg "the cat" --out mask.png --overlay seen.png',
    'groundling segment photos/ "the cat" --out masks/ --overlay seen/',
)
DEMO = ("groundling demo", "groundling demo --out demo --seed 7")
STREET = (
    "groundling data street scenes --scenes 2000",
    "groundling data street scenes --scenes 2000 --tasks captions,questions,masks --workers 2",
)
CONVERT = (
    "groundling data convert coco/ train.jsonl --dataset coco --split train",
    "groundling data convert flickr/ val.jsonl --captions",
)
CHECK = (
    "groundling data check coco/",
    "groundling data check mine.jsonl --out seen.png",
)
IMPORT = (
    "groundling import detr-r50.pth models/detr --system detr",
    "groundling import refcoco_resnet101_checkpoint.pth models/mdetr --system mdetr --text roberta-base/",
)
TRAIN = (
    "groundling train",
    "groundling train lads_street --settings",
    "groundling train lads_street --set data=scenes --out runs/lads_street",
    "groundling train finetune --set data=mine --set dataset=jsonl --set steps=300",
    "groundling train lads_street --out runs/lads_street --set data=scenes --resume",
)
EVALUATE = (
    "groundling evaluate lads_street --data scenes",
    "groundling evaluate lads_street --data scenes --split testA --split testB --json",
    "groundling evaluate mdetr_street --data scenes --dataset gqa --split testdev_balanced",
)
ANALYZE = ("groundling analyze lads_street --data scenes --out analysis",)
INFO = ("groundling info", "groundling info lads_street", "groundling info models/detr --json")
EXPORT = (
    'groundling export lads_street cat.onnx --expression "the cat"',
    "groundling export lads_street full.xml --format openvino",
)
BENCHMARK = (
    "groundling benchmark lads_street --threads 2",
    "groundling benchmark lads_r50 --rounds 5 --plot times.png",
)


def shown(lines: tuple[str, ...]) -> str:
    """Examples as typer's epilog, which keeps the lines of a paragraph that begins with \\b."""
    return "Examples:\n\n\b\n" + "".join(f"  {line}\n" for line in lines)
