"""What the columns of a table and the sections of a split are called, in the languages of Western Europe."""

from __future__ import annotations

import re
import unicodedata

# As plain() leaves them. A table with a usual name is not searched for the others.
USUAL_COLUMNS = {
    "path": ("path", "image", "file", "filename", "imagepath"),
    "class": ("class", "label", "classname"),
    "patient": ("patient", "patientid", "subject", "subjectid"),
    "split": ("split",),
}
_OTHER_COLUMNS = {
    "path": """
        filepath imagefile imagename img imgpath
        bild bilder bilddatei bildname bildpfad datei dateiname dateipfad pfad aufnahme
        fichier fichierimage nomfichier nomdefichier nomdufichier nomdelimage
        chemin chemindufichier chemindelimage
        imagen archivo fichero nombredearchivo nombredelarchivo nombredefichero ruta rutadelarchivo
        rutadelaimagen
        immagine nomefile nomedelfile percorso percorsofile percorsoimmagine
        imagem arquivo ficheiro nomedoarquivo nomedoficheiro caminho caminhodoarquivo
        caminhodaimagem
        afbeelding beeld beeldpad bestand bestandsnaam bestandspad pad
    """,
    "class": """
        diagnosis category target dx
        klasse klassenname diagnose befund kategorie
        classe nomdelaclasse etiquette diagnostic categorie
        clase etiqueta diagnostico categoria
        etichetta diagnosi
        rotulo
    """,
    "patient": """
        patientno patientnumber pid case caseid
        patientin patienten patientenid patientennummer patientennr patientnr patnr patid
        fall fallid fallnummer fallnr proband
        patiente idpatient patientn numeropatient numerodepatient numerodupatient npatient nopatient
        sujet cas
        paciente idpaciente pacienteid iddelpaciente numerodepaciente sujeto caso
        paziente idpaziente pazienteid numeropaziente soggetto
        iddopaciente numerodopaciente sujeito
        patientnummer proefpersoon casus
    """,
    "split": """
        section subset partition
        aufteilung teilmenge
        repartition sousensemble
        particion subconjunto
        partizione suddivisione sottoinsieme
        particao divisao
        splitsing deelverzameling
    """,
}
OTHER_COLUMNS = {
    noun: tuple(dict.fromkeys(words.split())) for noun, words in _OTHER_COLUMNS.items()
}

# Of DICOM, where a volume is a folder. They may mean a number beside a column of paths, and count without.
_FOLDERS = """
    folder foldername directory series seriesfolder seriespath dicomfolder
    ordner ordnername verzeichnis serie serien serienordner dicomordner
    dossier repertoire carpeta cartella pasta diretorio reeks
"""
FOLDER_COLUMNS = {"path": tuple(_FOLDERS.split())}

_SECTIONS = {
    "training": """
        train training trainingsdaten trainingssatz trainingsmenge
        entrainement apprentissage entrenamiento addestramento allenamento treino treinamento
    """,
    "validation": """
        val valid validation validierung validierungsdaten validierungssatz validierungsmenge
        validacion validazione convalida validacao validatie
    """,
    "test": """
        test testing testdaten testsatz testmenge prueba pruebas teste prova
    """,
}
SECTIONS_BY_WORD = {word: name for name, words in _SECTIONS.items() for word in words.split()}


def plain(name: str) -> str:
    """Letters and digits of a name, small and without accents: ``patientid`` of ``Patient-ID``."""
    return "".join(
        each for each in unicodedata.normalize("NFKD", name.casefold()) if each.isalnum()
    )


_NOTHING = re.compile(r"|nan|na|n/a|<na>|nat|null|#n/?a|#nv|#\S+[!?]", re.IGNORECASE)


def means_nothing(text: str) -> bool:
    """Whether a cell says that there is no value, as pandas, R and Excel write it (``#REF!`` as well)."""
    return bool(_NOTHING.fullmatch(text.strip()))


def one_spelling(name: str) -> str:
    """A name as it is written by all: one code for each accent, single blanks that are no others."""
    return " ".join(unicodedata.normalize("NFC", name).split())
